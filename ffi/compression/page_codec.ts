/** What compresses and decompresses single pages, whichever library does it. */

/**
 * Compresses pages, each by itself, with one context of a library made once. It belongs to the thread
 * that opened it. Nothing is allocated per page.
 */
export interface PageCompressor extends Disposable {
  /** The library, for example `"libdeflate.so.0"`. */
  readonly library: string;
  /**
   * Compresses a page.
   *
   * @param page read, and not kept
   * @param to where its compressed form goes; give it room for any page (PACKED_BYTES), since
   * zstd-napi pays for a page that does not fit with an Error object
   * @returns bytes written, or 0 when they did not fit; `to` then holds anything
   * @throws {CompressionError} when the library fails
   */
  compress(page: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number;
  /** Frees the context. Closing again does nothing. */
  close(): void;
}

/** What came of a page's compressed form. */
export const Unpacked = {
  /** A page. */
  PAGE: 0,
  /** The bytes are not one stream or frame of the method, whole and with nothing behind. */
  DAMAGED: 1,
  /** They hold more or less than a page. */
  OTHER_SIZE: 2,
} as const;
/** See {@linkcode Unpacked}. */
export type Unpacked = (typeof Unpacked)[keyof typeof Unpacked];

/** Decompresses pages with one context made once. See {@linkcode PageCompressor}. */
export interface PageDecompressor extends Disposable {
  /** The library. */
  readonly library: string;
  /**
   * Decompresses a page. Never throws for what a peer sent.
   *
   * @param from holds the compressed form at its start; what lies behind that may be overwritten
   * @param length bytes of the compressed form
   * @param page where the page goes, exactly as long as it must be; anything is in it afterwards unless
   * the result is {@linkcode Unpacked.PAGE}
   * @throws {RangeError} when `length` is no length of a part of `from`
   */
  decompress(
    from: Uint8Array<ArrayBuffer>,
    length: number,
    page: Uint8Array<ArrayBuffer>,
  ): Unpacked;
  /** Frees the context. Closing again does nothing. */
  close(): void;
}

/** A compression library that failed, or that cannot be opened. */
export class CompressionError extends Error {
  override readonly name = "CompressionError";
  /** Machine-readable reason. */
  readonly code = "COMPRESSION_FAILED";
}

/** Makes the error of a library that failed to compress, with the library's own words for it. */
export function compressionFailure(
  library: string,
  reason: string,
  options?: ErrorOptions,
): CompressionError {
  return new CompressionError(`${library} failed to compress a page: ${reason}`, options);
}

/** Checks that the compressed form lies within its memory: a library would read on behind it. */
export function checkPackedLength(from: Uint8Array<ArrayBuffer>, length: number): void {
  if (length >= 0 && length <= from.length) return;
  throw new RangeError(
    `Compressed page is longer than its memory of ${from.length} bytes: ${length}`,
  );
}
