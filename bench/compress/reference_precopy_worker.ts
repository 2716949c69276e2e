/** Entry of a precopy thread whose pages are compressed by the reference model. */

import { MappedMemory } from "../../ffi/memory.ts";
import { libc } from "../../ffi/libc.ts";
import { SLOT_BYTES } from "../../migration/compression.ts";
import { runWorkerThread, WorkerThread } from "../../migration/threads/worker_thread.ts";
import type { CompressionCounters } from "../../server/compression/compression_counters.ts";
import type { PageRecords } from "../../server/sending/page_records.ts";
import {
  type PrecopyInit,
  type PrecopyMessage,
  PrecopySender,
} from "../../server/live/precopy_sender.ts";
import type { ReferenceThreadInit } from "./reference_compressor.ts";
import { ReferenceMemory } from "./reference_memory.ts";
import { ReferencePages } from "./reference_pages.ts";
import { settingsOf, withSettings } from "./threading_model.ts";

/** Pages of the sender's largest batch. */
const BATCH_PAGES = 256;

const settings = settingsOf(import.meta.url);
const { threads } = settings;
const entry = withSettings(new URL("./reference_compress_worker.ts", import.meta.url), settings);
libc();
const workers = Array.from(
  { length: threads },
  () => new WorkerThread<ReferenceThreadInit, never>(entry),
);
// Before this thread says that it is ready; the product's migration waits for its threads too.
await Promise.all(workers.map((worker) => worker.ready));

runWorkerThread<PrecopyInit, PrecopyMessage>((init, tell) => {
  const { compression, targetPageSize: pageSize } = init;
  if (compression === undefined) throw new Error("Migration is not to compress");
  const { buffer } = new ReferenceMemory(threads);
  using memory = MappedMemory.anonymous(threads * SLOT_BYTES + BATCH_PAGES * pageSize);
  let pages: ReferencePages | undefined;
  const saver = (records: PageRecords, counters: CompressionCounters): ReferencePages => {
    const { wait } = compression;
    return pages = new ReferencePages(records, counters, {
      threads,
      buffer,
      memory,
      wait,
      pageSize,
    });
  };
  // A message gets there though this thread is about to block: a thread of a thread needs nothing of it.
  workers.forEach((worker, thread) =>
    worker.run({ thread, threads, buffer, memory: memory.address, pageSize, rings: compression })
  );
  try {
    using sender = new PrecopySender(
      init,
      tell,
      (records, state) => saver(records, state.compression),
    );
    sender.run();
  } finally {
    pages?.stop();
  }
});
