/** What the worker threads of the tests do with a compression library. */

import { CODEC_LIBRARIES, type CodecMethod, Unpacked } from "../../ffi/compression/codec.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { SLOT_BYTES } from "../../migration/compression.ts";
import { writePage } from "../../bench/codecs/page_content.ts";

/** Pages to be compressed and decompressed again. */
export interface CodecJob {
  readonly method: CodecMethod;
  /** Which of the method's libraries. */
  readonly library: number;
  /** How often. */
  readonly rounds: number;
  /** Whether the pages are zeros from byte 256 on, which takes a library a quarter of the time. */
  readonly sparse: boolean;
  /** Makes pages of this thread differ from those of others. */
  readonly seed: number;
}

/** Different pages in a job. */
const PAGES = 16;

/**
 * Compresses and decompresses pages in memory laid out as a thread's slots are.
 *
 * @throws when a page does not come back as it was
 */
export function moveThrough({ method, library: index, rounds, sparse, seed }: CodecJob): void {
  const library = CODEC_LIBRARIES[method][index]!;
  using compressor = library.compressor(1);
  using decompressor = library.decompressor();
  using memory = MappedMemory.anonymous(PAGES * SLOT_BYTES);
  using copies = MappedMemory.anonymous(4096);
  const copy = copies.bytes();
  const slots = Array.from({ length: PAGES }, (_, slot) => {
    const page = memory.bytes(slot * SLOT_BYTES, 4096);
    writePage(slot % 2 === 0 ? "structures" : "text", seed + slot, page);
    if (sparse) page.fill(0, 256);
    return { page, packed: memory.bytes(slot * SLOT_BYTES + 4096, SLOT_BYTES - 4096) };
  });
  for (let round = 0; round < rounds; round++) {
    const { page, packed } = slots[round % PAGES]!;
    const length = compressor.compress(page, packed);
    const outcome = decompressor.decompress(packed, length, copy);
    if (outcome !== Unpacked.PAGE) {
      throw new Error(`Page of round ${round} came back as: ${outcome}`);
    }
    for (let at = 0; at < 4096; at += 61) {
      if (copy[at] !== page[at]) throw new Error(`Page of round ${round} differs at: ${at}`);
    }
  }
}
