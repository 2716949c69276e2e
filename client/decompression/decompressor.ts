/** The decompression of a session's pages on one thread. */

import { openDecompressor, type PageDecompressor } from "../../ffi/compression/codec.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { COMPRESSIBLE_PAGE_BYTES, PACKED_BYTES, SLOT_BYTES } from "../../migration/compression.ts";
import { RingTask } from "../../migration/threads/ring_task.ts";
import type { SharedContexts } from "../../migration/threads/shared_contexts.ts";
import type { Task, TaskPoll } from "../../migration/threads/task.ts";
import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { ThreadTime } from "../../migration/threads/thread_time.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import {
  decompressionShape,
  type DecompressorInit,
  packedAt,
  pageAt,
  SlotWord,
} from "./decompression.ts";

/** Decompressing the pages of one of a session's rings. */
export const DECOMPRESS_TASK: TaskKind<DecompressorInit, never> = {
  thread: new URL("./decompress_worker.ts", import.meta.url),
  name: "decompress",
  urgent: false,
  calculates: true,
};

/**
 * Makes a task that decompresses pages until the rings are stopped. One that fails says so to the thread
 * that reads, by its ring: whoever owns the session may stand still on a page that is on its way here.
 *
 * @param poll the task's
 * @param decompressors the thread's, by method
 * @param time the thread's
 * @throws {Error} when no library for the method is there
 */
export function decompressPages(
  init: DecompressorInit,
  poll: TaskPoll,
  decompressors: SharedContexts<PageDecompressor>,
  time: ThreadTime,
): Task {
  const { method, worker, threads, rings } = init;
  const ring = new WorkRing(decompressionShape(threads), rings, worker);
  const { firstSlot, slots, words } = ring;
  const bytes = viewMemory(init.slots + firstSlot * SLOT_BYTES, slots * SLOT_BYTES);
  const part = (at: number, length: number) => bytes.subarray(at, at + length);
  const own = Array.from({ length: slots }, (_, index) => index);
  const pages = own.map((slot) => part(pageAt(slot), COMPRESSIBLE_PAGE_BYTES));
  const packed = own.map((slot) => part(packedAt(slot), PACKED_BYTES));
  using stack = new DisposableStack();
  const { context: decompressor } = stack.use(
    decompressors.lend(method, () => openDecompressor(method)),
  );
  const work = (index: number, at: number) => {
    const length = words[at + SlotWord.LENGTH]!;
    words[at + SlotWord.OUTCOME] = decompressor.decompress(packed[index]!, length, pages[index]!);
  };
  return new RingTask(ring, poll, time, work, stack.move());
}
