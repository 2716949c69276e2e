/** What compresses and decompresses a stream of flushed pieces, whichever library does it. */

/** Decompresses one stream, in the order it comes, in the thread that opened it. */
export interface StreamDecompressor extends Disposable {
  /** The library. */
  readonly library: string;
  /**
   * Reads a piece of the stream, all of it, and writes what comes of it. Never throws for what a peer sent.
   * After a failure the stream is of no further use.
   *
   * @param from address of its first byte
   * @param length bytes
   * @param to address of where the result goes
   * @param room bytes that there are
   * @returns bytes written; -1 when the stream is damaged, or there is more than fits
   */
  decompress(from: number, length: number, to: number, room: number): number;
  /** Frees the context. Closing again does nothing. */
  close(): void;
}

/** Compresses one stream, in the thread that opened it. */
export interface StreamCompressor extends Disposable {
  /** The library. */
  readonly library: string;
  /**
   * Compresses a piece of the stream and flushes it, so that the other end can read all of it. The stream is
   * never ended.
   *
   * @param from address of its first byte; what lies there stays as it is meanwhile
   * @param length bytes
   * @param to address of where the result goes
   * @param room bytes that there are
   * @returns bytes written
   * @throws {CompressionError} when the library fails, or there is more than fits
   */
  compress(from: number, length: number, to: number, room: number): number;
  /** Frees the context. Closing again does nothing. */
  close(): void;
}
