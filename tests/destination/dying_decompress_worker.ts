/** Worker entry: decompression that breaks down in the middle of a page. */

import { openDecompressor, type PageDecompressor } from "../../ffi/compression/codec.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { SharedContexts } from "../../migration/threads/shared_contexts.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { ThreadTime } from "../../migration/threads/thread_time.ts";
import type { DecompressorInit } from "../../client/decompression/decompression.ts";
import { decompressPages } from "../../client/decompression/decompressor.ts";

/** What it is made from. */
export interface DyingInit extends DecompressorInit {
  /** Pages that it decompresses before. */
  readonly after: number;
}

const make: TaskMaker<DyingInit, never> = (init, _, poll) => {
  const codec: PageDecompressor = Object.getPrototypeOf(openDecompressor(init.method));
  const { decompress } = codec;
  let left = init.after;
  codec.decompress = function (from, length, page) {
    if (left-- > 0) return decompress.call(this, from, length, page);
    page.fill(0xaa);
    throw new Error("Thread dies");
  };
  return decompressPages(init, poll, new SharedContexts(), new ThreadTime());
};
runPoolThread({ dying: make });
