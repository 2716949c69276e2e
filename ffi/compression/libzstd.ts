/** libzstd through FFI. */

import { OwnedContext } from "./owned_context.ts";
import {
  checkPackedLength,
  type CompressionError,
  compressionFailure,
  type PageCompressor,
  type PageDecompressor,
  Unpacked,
} from "./page_codec.ts";
import { CHECKSUM_FLAG, COMPRESSION_LEVEL, isCheckedFrame } from "./zstd_frame.ts";

/** The file that is opened. */
export const LIBZSTD = "libzstd.so.1";

// From zstd.h. Lengths are declared u32 although C says size_t, see ffi/libc.ts. A result of size_t
// is a length, or an error as its negative: in the low half, too, the errors are the highest numbers.
const SYMBOLS = {
  ZSTD_createCCtx: { parameters: [], result: "pointer" },
  ZSTD_freeCCtx: { parameters: ["pointer" /* context */], result: "u32" },
  ZSTD_CCtx_setParameter: {
    parameters: ["pointer", /* context */ "i32", /* parameter */ "i32" /* value */],
    result: "u32",
  },
  ZSTD_compress2: {
    parameters: [
      "pointer", /* context */
      "buffer", /* to */
      "u32", /* its length */
      "buffer", /* from */
      "u32", /* its length */
    ],
    result: "u32",
  },
  ZSTD_compressStream2: {
    parameters: [
      "pointer", /* context */
      "u64", /* ZSTD_outBuffer */
      "u64", /* ZSTD_inBuffer */
      "i32", /* ZSTD_EndDirective */
    ],
    result: "u32",
  },
  ZSTD_createDCtx: { parameters: [], result: "pointer" },
  ZSTD_freeDCtx: { parameters: ["pointer" /* context */], result: "u32" },
  ZSTD_decompressDCtx: {
    parameters: [
      "pointer", /* context */
      "buffer", /* to */
      "u32", /* its length */
      "buffer", /* from */
      "u32", /* its length */
    ],
    result: "u32",
  },
  ZSTD_decompressStream: {
    parameters: ["pointer", /* context */ "u64", /* ZSTD_outBuffer */ "u64" /* ZSTD_inBuffer */],
    result: "u32",
  },
  ZSTD_findFrameCompressedSize: {
    parameters: ["buffer", /* from */ "u32" /* its length */],
    result: "u32",
  },
  ZSTD_getErrorName: { parameters: ["i64" /* size_t result */], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Results from here on are errors: ZSTD_error_maxCode of zstd_errors.h is 120. */
export const LEAST_ERROR = 2 ** 32 - 120;
/** A result for ZSTD_error_dstSize_tooSmall, 70 in zstd_errors.h. */
const TOO_SMALL = 2 ** 32 - 70;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let symbols: Symbols | undefined;

/**
 * Opens the library; it stays open for the thread's life.
 *
 * @throws when this host does not have it
 */
export function openLibzstd(): Symbols {
  return symbols ??= Deno.dlopen(LIBZSTD, SYMBOLS).symbols;
}

/** The error for a result from {@linkcode LEAST_ERROR} on. */
export function zstdFailure(result: number): CompressionError {
  const functions = openLibzstd();
  const name = functions.ZSTD_getErrorName(BigInt(result - 2 ** 32))!;
  return compressionFailure(LIBZSTD, Deno.UnsafePointerView.getCString(name));
}

/**
 * Makes a context that compresses; the caller frees it.
 *
 * @param parameters of ZSTD_cParameter, with their values
 * @throws {CompressionError} when the library refuses one or has no memory
 */
export function newZstdContext(
  parameters: readonly (readonly [number, number])[],
): Deno.PointerObject {
  const functions = openLibzstd();
  const context = functions.ZSTD_createCCtx();
  if (context === null) throw compressionFailure(LIBZSTD, "no memory for a compressor");
  for (const [parameter, value] of parameters) {
    const result = functions.ZSTD_CCtx_setParameter(context, parameter, value);
    if (result < LEAST_ERROR) continue;
    functions.ZSTD_freeCCtx(context);
    throw zstdFailure(result);
  }
  return context;
}

/** {@linkcode PageCompressor} of libzstd. */
export class LibzstdCompressor extends OwnedContext<Deno.PointerObject> implements PageCompressor {
  readonly library: string = LIBZSTD;
  readonly #functions = openLibzstd();

  /**
   * @param level any of the library's
   * @throws {CompressionError} when the library refuses the level or has no memory
   */
  constructor(level: number) {
    const context = newZstdContext([[COMPRESSION_LEVEL, level], [CHECKSUM_FLAG, 1]]);
    super(context, openLibzstd().ZSTD_freeCCtx);
  }

  compress(page: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number {
    const context = this.context;
    const result = this.#functions.ZSTD_compress2(context, to, to.length, page, page.length);
    if (result < LEAST_ERROR) return result;
    if (result === TOO_SMALL) return 0;
    throw zstdFailure(result);
  }
}

/** {@linkcode PageDecompressor} of libzstd. */
export class LibzstdDecompressor extends OwnedContext<Deno.PointerObject>
  implements PageDecompressor {
  readonly library: string = LIBZSTD;
  readonly #functions = openLibzstd();

  /** @throws {CompressionError} when the library has no memory */
  constructor() {
    const functions = openLibzstd();
    const context = functions.ZSTD_createDCtx();
    if (context === null) throw compressionFailure(LIBZSTD, "no memory for a decompressor");
    super(context, functions.ZSTD_freeDCtx);
  }

  decompress(
    from: Uint8Array<ArrayBuffer>,
    length: number,
    page: Uint8Array<ArrayBuffer>,
  ): Unpacked {
    checkPackedLength(from, length);
    const context = this.context;
    if (!isCheckedFrame(from, length)) return Unpacked.DAMAGED;
    if (this.#functions.ZSTD_findFrameCompressedSize(from, length) !== length) {
      return Unpacked.DAMAGED;
    }
    const result = this.#functions.ZSTD_decompressDCtx(context, page, page.length, from, length);
    if (result === page.length) return Unpacked.PAGE;
    return result < LEAST_ERROR || result === TOO_SMALL ? Unpacked.OTHER_SIZE : Unpacked.DAMAGED;
  }
}
