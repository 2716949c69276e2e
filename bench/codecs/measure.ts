/** Times of a library over the same pages. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import {
  type PageCompressor,
  type PageDecompressor,
  Unpacked,
} from "../../ffi/compression/codec.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { COMPRESSIBLE_PAGE_BYTES, PACKED_BYTES, SLOT_BYTES } from "../../migration/compression.ts";
import { type PageKind, writePage } from "./page_content.ts";

/** Pages out of this many are of a kind: what is left of a guest's memory without its zero pages. */
export const SHARES: Readonly<Partial<Record<PageKind, number>>> = {
  text: 7,
  structures: 4,
  random: 4,
};

function kindsInTurn(): PageKind[] {
  return Object.entries(SHARES).flatMap(([kind, share]) => Array(share).fill(kind as PageKind));
}

/** Pages and room for their compressed forms, as a thread's slots are laid out. */
export class PageSet implements Disposable {
  /** The pages. */
  readonly pages: readonly Uint8Array<ArrayBuffer>[];
  /** Where their compressed forms go. */
  readonly packed: readonly Uint8Array<ArrayBuffer>[];
  /** Bytes of the compressed forms. */
  readonly lengths: Uint32Array;
  /** Where a page comes back. */
  readonly copy: Uint8Array<ArrayBuffer>;
  readonly #memory: MappedMemory;

  /** @param count pages, a multiple of the sum of {@linkcode SHARES} for the exact mix */
  constructor(count: number) {
    const memory = MappedMemory.anonymous((count + 1) * SLOT_BYTES);
    const at = (slot: number) => memory.bytes(slot * SLOT_BYTES, COMPRESSIBLE_PAGE_BYTES);
    const kinds = kindsInTurn();
    const slots = Array.from({ length: count }, (_, slot) => slot);
    this.#memory = memory;
    this.pages = slots.map(at);
    this.packed = slots.map((slot) =>
      memory.bytes(slot * SLOT_BYTES + COMPRESSIBLE_PAGE_BYTES, PACKED_BYTES)
    );
    this.lengths = new Uint32Array(count);
    this.copy = at(count);
    for (const slot of slots) writePage(kinds[slot % kinds.length]!, slot, this.pages[slot]!);
  }

  [Symbol.dispose](): void {
    this.#memory.close();
  }
}

/** One pass over all pages. */
export interface Pass {
  /** Nanoseconds a page. */
  readonly compress: number;
  /** Nanoseconds a page. */
  readonly decompress: number;
  /** Bytes a page, on average. */
  readonly bytes: number;
  /** Bytes of V8's heap and of buffers left behind, a page; less, or below zero, when some were collected meanwhile. */
  readonly garbage: number;
}

function heapBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/**
 * Compresses and decompresses every page once.
 *
 * @throws when a page does not come back
 */
export function measurePass(
  compressor: PageCompressor,
  decompressor: PageDecompressor,
  { pages, packed, lengths, copy }: PageSet,
): Pass {
  const count = pages.length;
  const heap = heapBytes();
  const start = monotonicNanoseconds();
  for (let page = 0; page < count; page++) {
    lengths[page] = compressor.compress(pages[page]!, packed[page]!);
  }
  const compressed = monotonicNanoseconds();
  let failed = 0;
  for (let page = 0; page < count; page++) {
    const outcome = decompressor.decompress(packed[page]!, lengths[page]!, copy);
    if (outcome !== Unpacked.PAGE) failed++;
  }
  const decompressed = monotonicNanoseconds();
  const garbage = heapBytes() - heap;
  if (failed > 0) throw new Error(`Pages that ${decompressor.library} lost: ${failed}`);
  return {
    compress: (compressed - start) / count,
    decompress: (decompressed - compressed) / count,
    bytes: lengths.reduce((sum, length) => sum + length, 0) / count,
    garbage: garbage / count,
  };
}
