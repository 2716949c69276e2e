/** The compression of a session's pages on one thread: takes copies of pages, gives back what they compress to. */

import { openCompressor, type PageCompressor } from "../../ffi/compression/codec.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { PACKED_BYTES, SLOT_BYTES } from "../../migration/compression.ts";
import { RingTask } from "../../migration/threads/ring_task.ts";
import type { SharedContexts } from "../../migration/threads/shared_contexts.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { ThreadTime } from "../../migration/threads/thread_time.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { BYTES_WORD, type CompressionInit, FAILED, PAGE_WORD } from "./compression_slots.ts";
import type { CompressionSettings } from "./compression_settings.ts";

/** What the task is made from; structured-cloned into its thread. */
export interface PageCompressorInit extends CompressionInit {
  /** Which of the session's rings, from 0. */
  readonly worker: number;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** How to compress. */
  readonly settings: CompressionSettings;
}

/** What it tells the control plane. */
export type PageCompressorMessage =
  /** It can be given pages. */
  | { readonly kind: "entered" }
  /** Its library failed, said the first time that it did. */
  | { readonly kind: "failed"; readonly reason: string };

/** Compressing the pages of one of a session's rings. */
export const COMPRESS_TASK: TaskKind<PageCompressorInit, PageCompressorMessage> = {
  thread: new URL("./compress_worker.ts", import.meta.url),
  name: "compress",
  urgent: false,
  calculates: true,
};

/**
 * Makes a task that compresses pages until the rings are stopped. A page that cannot be compressed goes
 * back as it is.
 *
 * @param tell called once it takes pages, and when its library fails
 * @param poll the task's
 * @param compressors the thread's, by method and level
 * @param time the thread's
 * @throws {Error} when there is no library for the method
 */
export function compressPages(
  init: PageCompressorInit,
  tell: Tell<PageCompressorMessage>,
  poll: TaskPoll,
  compressors: SharedContexts<PageCompressor>,
  time: ThreadTime,
): Task {
  const { shape, rings, memory, worker, pageSize, settings: { method, level } } = init;
  const ring = new WorkRing(shape, rings, worker);
  const { firstSlot, slots, words } = ring;
  const bytes = viewMemory(memory + firstSlot * SLOT_BYTES, slots * SLOT_BYTES);
  const part = (at: number, length: number) => bytes.subarray(at, at + length);
  const own = Array.from({ length: slots }, (_, index) => index * SLOT_BYTES);
  const pages = own.map((at) => part(at, pageSize));
  const packed = own.map((at) => part(at + pageSize, PACKED_BYTES));
  // As it is when it does not shrink by an eighth: it is hardly sent sooner, and has to be unpacked.
  const most = pageSize - pageSize / 8;
  using stack = new DisposableStack();
  const { context: compressor } = stack.use(
    compressors.lend(`${method} ${level}`, () => openCompressor(method, level)),
  );
  let failed = false;
  const work = (index: number, at: number) => {
    try {
      const length = compressor.compress(pages[index]!, packed[index]!);
      words[at + BYTES_WORD] = length > most ? 0 : length;
    } catch (error) {
      words[at + BYTES_WORD] = FAILED;
      if (failed) return;
      failed = true;
      const why = error instanceof Error ? error.message : String(error);
      const page = words[at + PAGE_WORD]!;
      tell({ kind: "failed", reason: `Page ${page} cannot be compressed (${method}): ${why}` });
    }
  };
  const task = new RingTask(ring, poll, time, work, stack.move());
  tell({ kind: "entered" });
  return task;
}
