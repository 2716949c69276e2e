import { assertEquals } from "@std/assert";
import { Condition } from "../../bench/compress/condition.ts";
import { Mutex } from "../../bench/compress/mutex.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { within } from "../support/deadline.ts";
import { type LockJob, Word } from "./lock_jobs.ts";

const WORDS = 128;

/** Runs threads at once and waits for all of them. */
async function runThreads(jobs: readonly LockJob[]): Promise<void> {
  const entry = new URL("./lock_worker.ts", import.meta.url);
  const threads = jobs.map(() => new WorkerThread<LockJob, never>(entry));
  await Promise.all(threads.map((thread) => thread.ready));
  jobs.forEach((job, index) => threads[index]!.run(job));
  await within("all threads to end", Promise.all(threads.map((thread) => thread.ended)), 60_000);
}

Deno.test("Mutex lets one of four threads in at a time, a million times", async () => {
  const buffer = new SharedArrayBuffer(WORDS * 4);
  const times = 250_000;
  const job: LockJob = { name: "count", buffer, times };
  await runThreads([job, job, job, job]);
  const words = new Int32Array(buffer);
  assertEquals(words[Word.OVERLAPS], 0);
  assertEquals(words[Word.COUNT], 4 * times);
  assertEquals(words[Word.MUTEX], 0);
});

Deno.test("Mutex that nobody waits for is left without a trace of a sleeper", () => {
  const words = new Int32Array(new SharedArrayBuffer(WORDS * 4));
  const mutex = new Mutex(words, Word.MUTEX);
  mutex.lock();
  assertEquals(words[Word.MUTEX], 1);
  mutex.unlock();
  assertEquals(words[Word.MUTEX], 0);
});

Deno.test("Condition loses no wake-up between three threads that put and three that take", async () => {
  const buffer = new SharedArrayBuffer(WORDS * 4);
  const times = 30_000;
  const put: LockJob = { name: "put", buffer, times };
  const take: LockJob = { name: "take", buffer, times };
  await runThreads([put, put, put, take, take, take]);
  const words = new Int32Array(buffer);
  assertEquals(words[Word.COUNT], 0);
  assertEquals(words[Word.TAKEN], 3 * times);
});

Deno.test("Condition passes a turn between two threads to and fro", async () => {
  const buffer = new SharedArrayBuffer(WORDS * 4);
  const times = 20_000;
  await runThreads([{ name: "put", buffer, times }, { name: "take", buffer, times }]);
  assertEquals(new Int32Array(buffer)[Word.TAKEN], times);
});

Deno.test("Condition signalled with nobody waiting keeps nothing for later", () => {
  const words = new Int32Array(new SharedArrayBuffer(WORDS * 4));
  const before = words.slice();
  const condition = new Condition(words, Word.CHANGED);
  condition.signal();
  condition.broadcast();
  assertEquals([...words], [...before]);
});
