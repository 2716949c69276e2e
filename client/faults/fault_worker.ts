import { libc } from "../../ffi/libc.ts";
import { becomeUrgentThread } from "../../ffi/scheduling.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { type FaultMessage, FaultServer, type FaultServerInit } from "./fault_server.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<FaultServerInit, FaultMessage>((init, tell) => {
  becomeUrgentThread();
  using server = new FaultServer(init, tell);
  server.serve();
});
