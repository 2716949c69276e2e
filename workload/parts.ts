/** Work over all pages of a memory, shared out among as many threads as there are cores. */

import { WorkerThread } from "../migration/threads/worker_thread.ts";

/**
 * Runs a worker over each part of a memory at once.
 *
 * @param worker entry of a worker that takes one job, tells one result and ends
 * @param pages how many there are
 * @param job makes the job for the pages from `from` to before `to`
 * @returns the results, ascending
 */
export async function inParts<J, R>(
  worker: URL,
  pages: number,
  job: (from: number, to: number) => J,
): Promise<R[]> {
  const threads = Math.min(navigator.hardwareConcurrency, pages);
  const limit = (part: number): number => Math.floor(pages * part / threads);
  const results = Array.from(
    { length: threads },
    (_, part) => runOnce<J, R>(worker, job(limit(part), limit(part + 1))),
  );
  return await Promise.all(results);
}

async function runOnce<J, R>(worker: URL, job: J): Promise<R> {
  const { promise, resolve } = Promise.withResolvers<R>();
  const thread = new WorkerThread<J, R>(worker, resolve);
  thread.run(job);
  await thread.ended;
  return await promise;
}
