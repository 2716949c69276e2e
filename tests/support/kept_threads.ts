/** Threads of the shared pool that stay from one test of a file to the next. */

import "./native.ts";
import { DECOMPRESS_TASK } from "../../client/decompression/decompressor.ts";
import { FAULT_TASK } from "../../client/faults/fault_task.ts";
import { MULTIFD_GUEST_TASK } from "../../client/incoming/multifd_guest.ts";
import { MAIN_CHANNEL_TASK } from "../../client/incoming/main_channel_task.ts";
import { type PoolTask, type TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { COMPRESS_TASK } from "../../server/compression/page_compressor.ts";
import { MULTIFD_TASK } from "../../server/multifd/multifd_sender.ts";
import { BACKGROUND, RETURN_PATH } from "../../server/outgoing/sending_tasks.ts";

// deno-lint-ignore no-explicit-any -- none of them is run
type AnyKind = TaskKind<any, any>;

/** Of every destination. */
export const DESTINATION: readonly AnyKind[] = [FAULT_TASK, MAIN_CHANNEL_TASK];
/** Of every source. */
export const SOURCE: readonly AnyKind[] = [BACKGROUND, RETURN_PATH];

/** Of a source whose guest runs. */
export const PRECOPY: AnyKind = {
  thread: new URL("../../server/live/precopy_worker.ts", import.meta.url),
  name: "precopy",
  urgent: false,
};
/** Of both ends where pages are compressed on demand. */
export const COMPRESSION: readonly AnyKind[] = [COMPRESS_TASK, DECOMPRESS_TASK];

/** Of both ends with multifd, where a guest's memory is received. */
export const MULTIFD: readonly AnyKind[] = [MULTIFD_TASK, MULTIFD_GUEST_TASK];

/** Threads of a kind that are kept: as many as a machine with two processors has. */
const MOST = 2;

// deno-lint-ignore no-explicit-any -- none of them is run
const kept: PoolTask<any, any>[] = [];

/**
 * Starts threads before the tests of a file, and keeps them: to start them takes longer than many a session of
 * a test lives. Sessions find them as they find those of the sessions before them elsewhere, and one that served
 * a session that went wrong has to serve the next. What else a session needs ends with it.
 *
 * @param kinds of tasks that the sessions have
 */
export async function keepThreads(...kinds: readonly AnyKind[]): Promise<void> {
  const pool = ThreadPool.shared;
  for (const kind of kinds) {
    for (let count = 0, before = -1; count < MOST && pool.threads > before; count++) {
      before = pool.threads;
      const task = pool.task(kind);
      kept.push(task);
      await task.prepare();
    }
  }
}

// Else they would stand in a system call when the thread whose they are is gone.
globalThis.addEventListener("unload", () => {
  for (const task of kept) task.end();
});
