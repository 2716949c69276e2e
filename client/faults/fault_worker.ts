import { becomeUrgentThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskPoll, Tell } from "../../migration/threads/task.ts";
import type { FaultMessage, FaultServerInit } from "./fault_messages.ts";
import { FaultServer } from "./fault_server.ts";

runPoolThread({
  faults: (init: FaultServerInit, tell: Tell<FaultMessage>, poll: TaskPoll) =>
    new FaultServer(init, tell, poll),
}, becomeUrgentThread);
