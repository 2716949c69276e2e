/** A thread that is urgent; it posts the kernel's number of it. */

import { becomeUrgentThread, threadId } from "../../ffi/scheduling.ts";

const scope = globalThis as unknown as { postMessage(thread: number): void };

becomeUrgentThread();
scope.postMessage(threadId());
