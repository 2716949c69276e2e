/** Entry of a compression thread of the reference model. */

import { openCompressor } from "../../ffi/compression/codec.ts";
import { libc } from "../../ffi/libc.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { compressForReference, type ReferenceThreadInit } from "./reference_compressor.ts";
import { settingsOf } from "./threading_model.ts";

const { method, level } = settingsOf(import.meta.url);
libc();
const compressor = openCompressor(method, level);
runWorkerThread<ReferenceThreadInit, never>((init) => {
  becomeBackgroundThread();
  compressForReference(init, compressor);
});
