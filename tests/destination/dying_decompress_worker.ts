/** Worker entry: a decompression thread that breaks down in the middle of a page. */

import { openDecompressor, type PageDecompressor } from "../../ffi/compression/codec.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import type { DecompressorInit } from "../../client/decompression/decompression.ts";
import { decompressPages } from "../../client/decompression/decompressor.ts";

/** What it is made from. */
export interface DyingInit extends DecompressorInit {
  /** Pages that it decompresses before. */
  readonly after: number;
}

runWorkerThread<DyingInit, never>((init) => {
  const codec: PageDecompressor = Object.getPrototypeOf(openDecompressor(init.method));
  const { decompress } = codec;
  let left = init.after;
  codec.decompress = function (from, length, page) {
    if (left-- > 0) return decompress.call(this, from, length, page);
    page.fill(0xaa);
    throw new Error("Thread dies");
  };
  decompressPages(init);
});
