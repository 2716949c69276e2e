/** Any split of a channel's bytes, made into what a decoder can take. */

/** Decodes whole elements from `bytes[start..end)` and returns where the first undecoded byte lies. */
export type DecodeElements = (bytes: Uint8Array, start: number, end: number) => number;

/**
 * Lets a decoder of whole elements be fed with any split of its input, by keeping what is left over.
 *
 * Chunks are decoded where they lie; only the element that straddles two of them is copied.
 */
export class ElementFeed {
  readonly #decode: DecodeElements;
  readonly #maxElementBytes: number;
  #kept: Uint8Array = new Uint8Array(0);
  #length = 0;

  /**
   * @param decode Gets on whenever it is given `maxElementBytes`.
   * @param maxElementBytes Bounds what is kept.
   */
  constructor(decode: DecodeElements, maxElementBytes: number) {
    this.#decode = decode;
    this.#maxElementBytes = maxElementBytes;
  }

  /** Bytes fed and not decoded yet. */
  get pending(): number {
    return this.#length;
  }

  /** Decodes as far as `chunk` allows and keeps the rest; `chunk` may be reused after the call. */
  feed(chunk: Uint8Array): void {
    let at = 0;
    while (this.#length > 0 && at < chunk.length) {
      const before = this.#length;
      const taken = Math.min(chunk.length - at, this.#maxElementBytes - before);
      this.#keep(chunk, at, at + taken);
      const decoded = this.#decode(this.#kept, 0, this.#length);
      if (decoded >= before) {
        // What was kept is used up: the rest is decoded where it lies.
        at += decoded - before;
        this.#length = 0;
      } else {
        if (decoded === 0 && this.#length >= this.#maxElementBytes) {
          throw new Error(
            `Decoder does not advance on ${this.#length} bytes: report this as a bug`,
          );
        }
        this.#kept.copyWithin(0, decoded, this.#length);
        this.#length -= decoded;
        at += taken;
      }
    }
    if (at < chunk.length) {
      at = this.#decode(chunk, at, chunk.length);
      this.#keep(chunk, at, chunk.length);
    }
  }

  #keep(chunk: Uint8Array, start: number, end: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#kept.length) {
      const grown = new Uint8Array(Math.max(needed, Math.min(2 * needed, this.#maxElementBytes)));
      grown.set(this.#kept.subarray(0, this.#length));
      this.#kept = grown;
    }
    // set() wants a view; this runs once a chunk, not once a page.
    this.#kept.set(chunk.subarray(start, end), this.#length);
    this.#length = needed;
  }
}
