/**
 * Entry of a precopy thread whose pages are compressed by the reference model. Its compression threads
 * serve one migration: the thread is of a pool that nobody else uses.
 *
 * @module
 */

import { MappedMemory } from "../../ffi/memory.ts";
import { SLOT_BYTES } from "../../migration/compression.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { Task, TaskMaker } from "../../migration/threads/task.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import type { PrecopyInit, PrecopyMessage, SaverMaker } from "../../server/live/precopy_sender.ts";
import { precopyTask } from "../../server/live/precopy_task.ts";
import type { ReferenceThreadInit } from "./reference_compressor.ts";
import { ReferenceMemory } from "./reference_memory.ts";
import { ReferencePages } from "./reference_pages.ts";
import { settingsOf, withSettings } from "./threading_model.ts";

/** Pages of the sender's largest batch. */
const BATCH_PAGES = 256;

const settings = settingsOf(import.meta.url);
const { threads } = settings;
const entry = withSettings(new URL("./reference_compress_worker.ts", import.meta.url), settings);
const workers = Array.from(
  { length: threads },
  () => new WorkerThread<ReferenceThreadInit, never>(entry),
);
// Before this thread says that it is ready; the product's migration waits for its threads too.
await Promise.all(workers.map((worker) => worker.ready));

const precopy: TaskMaker<PrecopyInit, PrecopyMessage> = (init, tell, poll): Task => {
  const { compression, targetPageSize: pageSize } = init;
  if (compression === undefined) throw new Error("Migration is not to compress");
  const { buffer } = new ReferenceMemory(threads);
  using making = new DisposableStack();
  const memory = making.use(MappedMemory.anonymous(threads * SLOT_BYTES + BATCH_PAGES * pageSize));
  const saver: SaverMaker = (_, records, state) => {
    const { wait } = compression;
    const pages = { threads, buffer, memory, wait, pageSize };
    return making.adopt(
      new ReferencePages(records, state.compression, pages),
      (pages) => pages.stop(),
    );
  };
  // A message gets there though this thread is about to block: a thread of a thread needs nothing of it.
  workers.forEach((worker, thread) =>
    worker.run({ thread, threads, buffer, memory: memory.address, pageSize, rings: compression })
  );
  const task = making.use(precopyTask(init, tell, poll, saver));
  const owned = making.move(); // ends the sender first, then the threads, then their memory
  return { step: () => task.step(), [Symbol.dispose]: () => owned.dispose() };
};

runPoolThread({ precopy });
