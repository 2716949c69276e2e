/** zstd through the addon of the npm package zstd-napi. */

import { createRequire } from "node:module";
import { OwnedContext } from "./owned_context.ts";
import {
  checkPackedLength,
  compressionFailure,
  type PageCompressor,
  type PageDecompressor,
  Unpacked,
} from "./page_codec.ts";
import {
  CHECKSUM_FLAG,
  COMPRESSION_LEVEL,
  isCheckedFrame,
  SKIPPABLE_HEADER_BYTES,
  writeSkippableFrame,
} from "./zstd_frame.ts";

/** The package. */
export const ZSTD_NAPI = "zstd-napi";

// The package is optional, and so are its types: what is used of them is written down here, or the types
// of this project could not be checked where it is not installed.

/** The addon's context of a compressor. */
interface CCtx {
  setParameter(parameter: number, value: number): void;
  compress2(to: Uint8Array, from: Uint8Array): number;
}

/** The addon's context of a decompressor. */
interface DCtx {
  decompress(to: Uint8Array, from: Uint8Array): number;
}

/** The part of the addon that is used. */
interface Addon {
  readonly CCtx: new () => CCtx;
  readonly DCtx: new () => DCtx;
  findFrameCompressedSize(bytes: Uint8Array): number;
}

/** What the addon throws for ZSTD_error_dstSize_tooSmall: the library's own words. */
const TOO_SMALL = "Destination buffer is too small";

let addon: Addon | undefined;

/**
 * Loads the addon; it stays loaded for the thread's life.
 *
 * @throws when the package is not there, or its addon was not built
 */
export function openZstdNapi(): Addon {
  // Required, not imported: an addon that is missing must be no reason for this module not to load.
  return addon ??= createRequire(import.meta.url)("zstd-napi/binding.js") as Addon;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The addon frees a context that was given up with the garbage. */
function leaveToCollector(): void {}

/** {@linkcode PageCompressor} of zstd-napi. */
export class ZstdNapiCompressor extends OwnedContext<CCtx> implements PageCompressor {
  readonly library: string = ZSTD_NAPI;

  /**
   * @param level any of the library's
   * @throws {CompressionError} when the library refuses the level or has no memory
   */
  constructor(level: number) {
    const { CCtx } = openZstdNapi();
    let context: CCtx;
    try {
      context = new CCtx();
      context.setParameter(COMPRESSION_LEVEL, level);
      context.setParameter(CHECKSUM_FLAG, 1);
    } catch (cause) {
      throw compressionFailure(ZSTD_NAPI, reason(cause), { cause });
    }
    super(context, leaveToCollector);
  }

  compress(page: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number {
    const context = this.context;
    try {
      return context.compress2(to, page);
    } catch (cause) {
      if (reason(cause) === TOO_SMALL) return 0;
      throw compressionFailure(ZSTD_NAPI, reason(cause), { cause });
    }
  }
}

/** {@linkcode PageDecompressor} of zstd-napi. */
export class ZstdNapiDecompressor extends OwnedContext<DCtx> implements PageDecompressor {
  readonly library: string = ZSTD_NAPI;
  readonly #addon = openZstdNapi();

  /** @throws {CompressionError} when the library has no memory */
  constructor() {
    const { DCtx } = openZstdNapi();
    let context: DCtx;
    try {
      context = new DCtx();
    } catch (cause) {
      throw compressionFailure(ZSTD_NAPI, reason(cause), { cause });
    }
    super(context, leaveToCollector);
  }

  decompress(
    from: Uint8Array<ArrayBuffer>,
    length: number,
    page: Uint8Array<ArrayBuffer>,
  ): Unpacked {
    checkPackedLength(from, length);
    const context = this.context;
    if (!isCheckedFrame(from, length)) return Unpacked.DAMAGED;
    // The addon decompresses all of a view, and a view per page would be garbage: it gets the whole
    // memory, where the rest behind the frame is a frame of the kind that decompressors skip.
    let whole = from;
    if (from.length - length >= SKIPPABLE_HEADER_BYTES) writeSkippableFrame(from, length);
    else whole = from.subarray(0, length);
    try {
      if (this.#addon.findFrameCompressedSize(whole) !== length) return Unpacked.DAMAGED;
      const bytes = context.decompress(page, whole);
      return bytes === page.length ? Unpacked.PAGE : Unpacked.OTHER_SIZE;
    } catch (error) {
      return reason(error) === TOO_SMALL ? Unpacked.OTHER_SIZE : Unpacked.DAMAGED;
    }
  }
}
