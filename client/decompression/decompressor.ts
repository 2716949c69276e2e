/** What a decompression thread does. */

import { threadCpuNanoseconds } from "../../ffi/clock.ts";
import { openDecompressor } from "../../ffi/compression/codec.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { COMPRESSIBLE_PAGE_BYTES, PACKED_BYTES } from "../../migration/compression.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import {
  decompressionShape,
  type DecompressorInit,
  packedAt,
  pageAt,
  SlotWord,
  THREAD_SLOTS,
} from "./decompression.ts";
import { ReaderCall } from "./reader_call.ts";

/** Pages between two looks at the thread's processor time: the look is a system call of 0.3 us. */
const PAGES_BETWEEN_LOOKS = 16;

/**
 * Decompresses pages until the rings are stopped. A thread that fails says so itself, to the thread
 * that reads: whoever owns the threads may stand still on a page that is on its way here.
 *
 * @throws {Error} when no library for the method is there
 */
export function decompressPages(init: DecompressorInit): void {
  try {
    decompress(init);
  } catch (error) {
    new WorkRings(decompressionShape(init.threads), init.rings).bury(init.worker);
    new ReaderCall(init.call).answer(init.wakeFd);
    throw error;
  }
}

function decompress(init: DecompressorInit): void {
  const { method, worker, threads, rings, slots, wakeFd } = init;
  const ring = new WorkRing(decompressionShape(threads), rings, worker);
  const call = new ReaderCall(init.call);
  using decompressor = openDecompressor(method);
  const first = worker * THREAD_SLOTS;
  const view = (at: number, length: number) => viewMemory(slots + at, length);
  const own = Array.from({ length: THREAD_SLOTS }, (_, index) => first + index);
  const pages = own.map((slot) => view(pageAt(slot), COMPRESSIBLE_PAGE_BYTES));
  const packed = own.map((slot) => view(packedAt(slot), PACKED_BYTES));
  const { words } = ring;
  let used = threadCpuNanoseconds();
  let left = 1; // the first page shows that the thread works
  ring.enter();
  for (let slot = ring.next(); slot >= 0; slot = ring.next()) {
    const at = ring.at(slot);
    const index = slot - first;
    const length = words[at + SlotWord.LENGTH]!;
    words[at + SlotWord.OUTCOME] = decompressor.decompress(packed[index]!, length, pages[index]!);
    if (--left === 0) {
      left = PAGES_BETWEEN_LOOKS;
      const now = threadCpuNanoseconds();
      ring.addCpuTime(now - used);
      used = now;
    }
    ring.finish();
    call.answer(wakeFd);
  }
  ring.addCpuTime(threadCpuNanoseconds() - used);
}
