/** zlib as Deno itself has it, for comparison: each call makes a stream and a Buffer. */

import { deflateSync, inflateSync } from "node:zlib";
import {
  type PageCompressor,
  type PageDecompressor,
  Unpacked,
} from "../../ffi/compression/page_codec.ts";

/** {@linkcode PageCompressor} of node:zlib. */
export class NodeZlibCompressor implements PageCompressor {
  readonly library = "node:zlib";
  readonly #level: number;

  /** @param level 0 to 9 */
  constructor(level: number) {
    this.#level = level;
  }

  compress(page: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number {
    const stream = deflateSync(page, { level: this.#level });
    if (stream.length > to.length) return 0;
    to.set(stream);
    return stream.length;
  }

  close(): void {}

  [Symbol.dispose](): void {}
}

/** {@linkcode PageDecompressor} of node:zlib. */
export class NodeZlibDecompressor implements PageDecompressor {
  readonly library = "node:zlib";

  decompress(
    from: Uint8Array<ArrayBuffer>,
    length: number,
    page: Uint8Array<ArrayBuffer>,
  ): Unpacked {
    const bytes = inflateSync(from.subarray(0, length));
    if (bytes.length !== page.length) return Unpacked.OTHER_SIZE;
    page.set(bytes);
    return Unpacked.PAGE;
  }

  close(): void {}

  [Symbol.dispose](): void {}
}
