import { setThreadNice } from "../ffi/scheduling.ts";
import { runWorkerThread } from "../migration/threads/worker_thread.ts";
import { RequestServer, type RequestServerInit, type ReturnPathMessage } from "./request_server.ts";

runWorkerThread<RequestServerInit, ReturnPathMessage>((init, tell) => {
  setThreadNice(-15); // refused to unprivileged users, who keep what they have
  using server = new RequestServer(init, tell);
  server.serve();
});
