/** Compression of single pages by the fastest library that this host has. */

import {
  LIBDEFLATE,
  LibdeflateCompressor,
  LibdeflateDecompressor,
  openLibdeflate,
} from "./libdeflate.ts";
import { type Candidate, type Choice, chooseLibrary } from "./library_choice.ts";
import { LIBZ, LibzCompressor, LibzDecompressor, openLibz } from "./libz.ts";
import { LIBZSTD, LibzstdCompressor, LibzstdDecompressor, openLibzstd } from "./libzstd.ts";
import type { PageCompressor, PageDecompressor } from "./page_codec.ts";
import { openZstdNapi, ZSTD_NAPI, ZstdNapiCompressor, ZstdNapiDecompressor } from "./zstd_napi.ts";

export { CompressionError, Unpacked } from "./page_codec.ts";
export type { PageCompressor, PageDecompressor } from "./page_codec.ts";

/** What a page is compressed with: CompressionMethod of migration/, which ffi/ does not import. */
export type CodecMethod = "zlib" | "zstd";

/** A library that compresses and decompresses pages. */
export interface CodecLibrary extends Candidate {
  /** Makes a compressor of a level of the method, see COMPRESSION_LEVELS. */
  compressor(level: number): PageCompressor;
  /** Makes a decompressor. */
  decompressor(): PageDecompressor;
}

/** The libraries by method, the fastest first (bench:codecs; zstd's two are equal). */
export const CODEC_LIBRARIES: Readonly<Record<CodecMethod, readonly CodecLibrary[]>> = {
  zlib: [
    {
      library: LIBDEFLATE,
      used: `${LIBDEFLATE} is used`,
      remedy: "apt-get install libdeflate0",
      open: openLibdeflate,
      compressor: (level) => new LibdeflateCompressor(level),
      decompressor: () => new LibdeflateDecompressor(),
    },
    {
      library: LIBZ,
      used: `${LIBZ} is used, half as fast (apt-get install libdeflate0)`,
      remedy: "apt-get install zlib1g",
      open: openLibz,
      compressor: (level) => new LibzCompressor(level),
      decompressor: () => new LibzDecompressor(),
    },
  ],
  zstd: [
    {
      library: LIBZSTD,
      used: `${LIBZSTD} is used`,
      remedy: "apt-get install libzstd1",
      open: openLibzstd,
      compressor: (level) => new LibzstdCompressor(level),
      decompressor: () => new LibzstdDecompressor(),
    },
    {
      library: ZSTD_NAPI,
      used: `${ZSTD_NAPI} is used`,
      remedy: "deno task setup",
      open: openZstdNapi,
      compressor: (level) => new ZstdNapiCompressor(level),
      decompressor: () => new ZstdNapiDecompressor(),
    },
  ],
};

const chosen: Partial<Record<CodecMethod, Choice<CodecLibrary>>> = {};

function choose(method: CodecMethod): Choice<CodecLibrary> {
  return chosen[method] ??= chooseLibrary(method, CODEC_LIBRARIES[method]);
}

/** Which library is used for a method. */
export interface CompressionLibrary {
  /** Its name, for example `"libzstd.so.1"`. */
  readonly library: string;
  /**
   * Why it is not the first choice, in one line, for example `"libzstd.so.1 was not found: zstd-napi is
   * used"`.
   */
  readonly instead?: string;
}

/**
 * Returns which library compresses and decompresses in this thread, and loads it.
 *
 * @throws {CompressionError} when this host has none, with what to install
 */
export function compressionLibrary(method: CodecMethod): CompressionLibrary {
  const { candidate: { library }, instead } = choose(method);
  return instead === undefined ? { library } : { library, instead };
}

/**
 * Makes a compressor, to be used in this thread alone.
 *
 * @param level one that checkCompressionLevel lets through
 * @throws {CompressionError} when this host has no library, with what to install, or it has no memory
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openCompressor, openDecompressor, Unpacked } from "./codec.ts";
 *
 * using compressor = openCompressor("zlib", 1);
 * using decompressor = openDecompressor("zlib");
 * const page = new Uint8Array(4096).fill(7);
 * const packed = new Uint8Array(8192);
 * const length = compressor.compress(page, packed);
 * const copy = new Uint8Array(4096);
 * assertEquals(decompressor.decompress(packed, length, copy), Unpacked.PAGE);
 * assertEquals(copy, page);
 * ```
 */
export function openCompressor(method: CodecMethod, level: number): PageCompressor {
  return choose(method).candidate.compressor(level);
}

/**
 * Makes a decompressor, to be used in this thread alone.
 *
 * @throws {CompressionError} when this host has no library, with what to install, or it has no memory
 */
export function openDecompressor(method: CodecMethod): PageDecompressor {
  return choose(method).candidate.decompressor();
}
