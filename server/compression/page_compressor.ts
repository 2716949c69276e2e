/** A compression thread: takes copies of pages, gives back what they compress to. */

import { threadCpuNanoseconds } from "../../ffi/clock.ts";
import { openCompressor } from "../../ffi/compression/codec.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { PACKED_BYTES, SLOT_BYTES } from "../../migration/compression.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { BYTES_WORD, type CompressionInit, FAILED, PAGE_WORD } from "./compression_slots.ts";
import type { CompressionSettings } from "./compression_settings.ts";

/** What a compression thread is made from; structured-cloned into its worker. */
export interface PageCompressorInit extends CompressionInit {
  /** Which of the threads, from 0. */
  readonly worker: number;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** How to compress. */
  readonly settings: CompressionSettings;
}

/** What a compression thread tells the control plane. */
export type PageCompressorMessage =
  /** It can be given pages. */
  | { readonly kind: "entered" }
  /** Its library failed, said the first time that it did. */
  | { readonly kind: "failed"; readonly reason: string };

/** Pages between two readings of the thread's clock, which take as long as a tenth of a page. */
const CLOCK_INTERVAL = 64;

/**
 * Compresses pages until the rings are stopped. The context and the views of the slots are made once.
 * A page that cannot be compressed goes back as it is.
 *
 * @param tell called once the thread takes pages, and when its library fails
 */
export function compressPages(
  init: PageCompressorInit,
  tell: (message: PageCompressorMessage) => void,
): void {
  const { shape, rings, memory, worker, pageSize, settings } = init;
  using compressor = openCompressor(settings.method, settings.level);
  const ring = new WorkRing(shape, rings, worker);
  const { firstSlot, slots, words } = ring;
  const pages = Array.from(
    { length: slots },
    (_, index) => viewMemory(memory + (firstSlot + index) * SLOT_BYTES, pageSize),
  );
  const packed = Array.from(
    { length: slots },
    (_, index) => viewMemory(memory + (firstSlot + index) * SLOT_BYTES + pageSize, PACKED_BYTES),
  );
  // As it is when it does not shrink by an eighth: it is hardly sent sooner, and has to be unpacked.
  const most = pageSize - pageSize / 8;
  ring.enter();
  tell({ kind: "entered" });
  let failed = false;
  let clock = threadCpuNanoseconds();
  for (let count = 1;; count++) {
    const slot = ring.next();
    if (slot < 0) return;
    const at = ring.at(slot);
    const index = slot - firstSlot;
    try {
      const bytes = compressor.compress(pages[index]!, packed[index]!);
      words[at + BYTES_WORD] = bytes > most ? 0 : bytes;
    } catch (error) {
      words[at + BYTES_WORD] = FAILED;
      const why = error instanceof Error ? error.message : String(error);
      const page = words[at + PAGE_WORD]!;
      if (!failed) {
        tell({
          kind: "failed",
          reason: `Page ${page} cannot be compressed (${settings.method}): ${why}`,
        });
      }
      failed = true;
    }
    ring.finish();
    if (count % CLOCK_INTERVAL === 0) {
      const now = threadCpuNanoseconds();
      ring.addCpuTime(now - clock);
      clock = now;
    }
  }
}
