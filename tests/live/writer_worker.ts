/** A thread of a {@linkcode WritingGuest}: writes to random pages whenever it may. */

import { viewMemory } from "../../ffi/memory.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { GuestControl } from "./guest_control.ts";

/** What a writer gets. */
export interface WriterJob {
  readonly thread: number;
  readonly blocks: readonly { readonly address: number; readonly length: number }[];
  readonly control: SharedArrayBuffer;
  /** Writes between two naps of a millisecond; 0 for no nap. */
  readonly burst: number;
}

runWorkerThread<WriterJob, never>(({ thread, blocks, control: buffer, burst }) => {
  const control = new GuestControl(buffer);
  const views = blocks.map(({ address, length }) =>
    new Int32Array(viewMemory(address, length).buffer)
  );
  let random = 0x9e37_79b1 ^ (thread + 1);
  let writes = 0;
  while (control.mayRun()) {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    const words = views[(random >>> 8) % views.length]!;
    // Zeros too: a page may become zero, and a zero page may become data.
    const value = (random & 7) === 0 ? 0 : random;
    words[(random >>> 0) % words.length] = value;
    if (burst !== 0 && ++writes % burst === 0) control.nap();
  }
});
