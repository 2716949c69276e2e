/** The compression libraries of this host, opened outside of any test, where Deno counts them as leaks. */

import {
  CODEC_LIBRARIES,
  type CodecLibrary,
  type CodecMethod,
} from "../../ffi/compression/codec.ts";
import { COMPRESSION_LEVELS, PACKED_BYTES } from "../../migration/compression.ts";
import { type PageKind, writePage } from "../../bench/codecs/page_content.ts";
import { type SkipReason, skipReason } from "../support/skip.ts";

/** A library, and why it cannot be tested here. */
export interface TestedLibrary {
  readonly method: CodecMethod;
  readonly library: CodecLibrary;
  /** Its number among those of its method. */
  readonly index: number;
  readonly skip: SkipReason | undefined;
}

function missing(library: CodecLibrary): SkipReason | undefined {
  try {
    library.open();
    return undefined;
  } catch (error) {
    return skipReason("missing package", `${error}, run: ${library.remedy}`);
  }
}

/** Every library of every method. */
export const LIBRARIES: readonly TestedLibrary[] = (["zlib", "zstd"] as const).flatMap((method) =>
  CODEC_LIBRARIES[method].map((library, index) => ({
    method,
    library,
    index,
    skip: missing(library),
  }))
);

/** Libraries of a method that are there. */
export function librariesOf(method: CodecMethod): CodecLibrary[] {
  return LIBRARIES.filter((each) => each.method === method && each.skip === undefined)
    .map(({ library }) => library);
}

/** Every level of a method. */
export function levelsOf(method: CodecMethod): number[] {
  const { least, most } = COMPRESSION_LEVELS[method];
  return Array.from({ length: most - least + 1 }, (_, index) => least + index);
}

/** Kinds of pages. */
export const KINDS: readonly PageKind[] = ["zero", "text", "structures", "random"];

/** Returns a new page. */
export function pageOf(kind: PageKind, number = 0): Uint8Array<ArrayBuffer> {
  const page = new Uint8Array(4096);
  writePage(kind, number, page);
  return page;
}

/** Compresses content into new memory of a slot's size. */
export function packed(
  library: CodecLibrary,
  level: number,
  content: Uint8Array<ArrayBuffer>,
): { readonly bytes: Uint8Array<ArrayBuffer>; readonly length: number } {
  using compressor = library.compressor(level);
  const bytes = new Uint8Array(PACKED_BYTES);
  return { bytes, length: compressor.compress(content, bytes) };
}
