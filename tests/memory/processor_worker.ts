/** Worker entry: lets a processor read a byte, and tells what it read. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { type ProcessorHandle, readByte } from "./kvm_processor.ts";

/** What to read, and by which processor. */
export interface ProcessorRead {
  readonly processor: ProcessorHandle;
  readonly address: number;
}

runWorkerThread<ProcessorRead, number | undefined>(({ processor, address }, tell) => {
  tell(readByte(processor, address));
});
