/** libdeflate: whole zlib streams in one call, faster than zlib in both directions. */

import { OwnedContext } from "./owned_context.ts";
import {
  checkPackedLength,
  compressionFailure,
  type PageCompressor,
  type PageDecompressor,
  Unpacked,
} from "./page_codec.ts";

/** The file that is opened. */
export const LIBDEFLATE = "libdeflate.so.0";

// From libdeflate.h. Lengths are declared u32 although C says size_t, see ffi/libc.ts.
const SYMBOLS = {
  libdeflate_alloc_compressor: { parameters: ["i32" /* level */], result: "pointer" },
  libdeflate_free_compressor: { parameters: ["pointer" /* compressor */], result: "void" },
  libdeflate_zlib_compress: {
    parameters: [
      "pointer", /* compressor */
      "buffer", /* in */
      "u32", /* its length */
      "buffer", /* out */
      "u32", /* its length */
    ],
    result: "u32", // at most the length of out; 0: does not fit
  },
  libdeflate_alloc_decompressor: { parameters: [], result: "pointer" },
  libdeflate_free_decompressor: { parameters: ["pointer" /* decompressor */], result: "void" },
  libdeflate_zlib_decompress_ex: {
    parameters: [
      "pointer", /* decompressor */
      "buffer", /* in */
      "u32", /* its length */
      "buffer", /* out */
      "u32", /* its length */
      "buffer", /* size_t: bytes taken */
      "buffer", /* size_t: bytes made */
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** Results of libdeflate_zlib_decompress_ex. */
const SUCCESS = 0;
const INSUFFICIENT_SPACE = 3;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let symbols: Symbols | undefined;

/**
 * Opens the library; it stays open for the thread's life.
 *
 * @throws when this host does not have it
 */
export function openLibdeflate(): Symbols {
  return symbols ??= Deno.dlopen(LIBDEFLATE, SYMBOLS).symbols;
}

/** {@linkcode PageCompressor} of libdeflate. */
export class LibdeflateCompressor extends OwnedContext<Deno.PointerObject>
  implements PageCompressor {
  readonly library: string = LIBDEFLATE;
  readonly #functions = openLibdeflate();

  /**
   * @param level 0 to 9 as zlib counts: libdeflate's own levels go on to 12, but up to 9 they make pages
   * of zlib's sizes, to 2 % (bench:codecs), and 0 stores
   * @throws {CompressionError} when the library has no such level or no memory
   */
  constructor(level: number) {
    const functions = openLibdeflate();
    const context = functions.libdeflate_alloc_compressor(level);
    if (context === null) throw compressionFailure(LIBDEFLATE, `no compressor of level ${level}`);
    super(context, functions.libdeflate_free_compressor);
  }

  compress(page: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number {
    return this.#functions.libdeflate_zlib_compress(
      this.context,
      page,
      page.length,
      to,
      to.length,
    );
  }
}

/** {@linkcode PageDecompressor} of libdeflate. */
export class LibdeflateDecompressor extends OwnedContext<Deno.PointerObject>
  implements PageDecompressor {
  readonly library: string = LIBDEFLATE;
  readonly #functions = openLibdeflate();
  /** The counts that a call gives back: low and high half of bytes taken, and of bytes made. */
  readonly #taken = new Uint32Array(new ArrayBuffer(8));
  readonly #made = new Uint32Array(new ArrayBuffer(8));

  /** @throws {CompressionError} when the library has no memory */
  constructor() {
    const functions = openLibdeflate();
    const context = functions.libdeflate_alloc_decompressor();
    if (context === null) throw compressionFailure(LIBDEFLATE, "no memory for a decompressor");
    super(context, functions.libdeflate_free_decompressor);
  }

  decompress(
    from: Uint8Array<ArrayBuffer>,
    length: number,
    page: Uint8Array<ArrayBuffer>,
  ): Unpacked {
    checkPackedLength(from, length);
    const result = this.#functions.libdeflate_zlib_decompress_ex(
      this.context,
      from,
      length,
      page,
      page.length,
      this.#taken,
      this.#made,
    );
    if (result === INSUFFICIENT_SPACE) return Unpacked.OTHER_SIZE;
    if (result !== SUCCESS || this.#taken[0] !== length) return Unpacked.DAMAGED;
    return this.#made[0] === page.length ? Unpacked.PAGE : Unpacked.OTHER_SIZE;
  }
}
