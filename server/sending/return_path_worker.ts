import { libc } from "../../ffi/libc.ts";
import { becomeUrgentThread } from "../../ffi/scheduling.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { RequestServer, type RequestServerInit, type ReturnPathMessage } from "./request_server.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<RequestServerInit, ReturnPathMessage>((init, tell) => {
  becomeUrgentThread();
  using server = new RequestServer(init, tell);
  server.serve();
});
