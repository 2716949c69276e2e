import { becomeUrgentThread, threadId } from "../../ffi/scheduling.ts";

becomeUrgentThread();
postMessage(threadId());
