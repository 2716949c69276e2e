import { becomeUrgentThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { RequestServer, type RequestServerInit, type ReturnPathMessage } from "./request_server.ts";

const serve: TaskMaker<RequestServerInit, ReturnPathMessage> = (init, tell, poll) =>
  new RequestServer(init, tell, poll);

runPoolThread({ "return-path": serve }, becomeUrgentThread);
