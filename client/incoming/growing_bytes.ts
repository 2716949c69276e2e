/** Bytes that a peer sends one after the other, gathered in one piece. */

/** First memory, bytes: it grows as bytes arrive, so that a length alone costs nothing. */
const FIRST_BYTES = 1 << 20;

/** A buffer that grows with what is added to it. */
export class GrowingBytes {
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;

  /** Bytes gathered. */
  get length(): number {
    return this.#length;
  }

  /** The bytes gathered so far: a view, valid until more are added. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Adds bytes, which are copied. */
  add(bytes: Uint8Array, at: number, length: number): void {
    const needed = this.#length + length;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(needed * 2);
      grown.set(this.bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes.subarray(at, at + length), this.#length);
    this.#length = needed;
  }
}
