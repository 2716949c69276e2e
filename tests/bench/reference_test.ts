import { assertRejects } from "@std/assert";
import { ReferenceMemory } from "../../bench/compress/reference_memory.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { within } from "../support/deadline.ts";
import type { DispatchJob, ReferenceJob } from "./reference_jobs.ts";

const ENTRY = new URL("./reference_worker.ts", import.meta.url);

type Thread = WorkerThread<ReferenceJob, never>;

function start(job: ReferenceJob): Thread {
  const thread: Thread = new WorkerThread(ENTRY);
  thread.run(job);
  return thread;
}

/** Runs a dispatcher and its threads; returns these, which have ended if the dispatcher stopped them. */
async function dispatch(
  name: DispatchJob["name"],
  threads: number,
  wait: boolean,
  failAt = -1,
): Promise<Thread[]> {
  const { buffer } = new ReferenceMemory(threads);
  const all = Array.from(
    { length: threads },
    (_, thread) => start({ name: "work", buffer, threads, thread, failAt }),
  );
  await within("the dispatcher to end", start({ name, buffer, threads, wait }).ended);
  return all;
}

function allEnded(all: readonly Thread[]): Promise<unknown> {
  return within("all threads to end", Promise.all(all.map((thread) => thread.ended)));
}

for (const threads of [1, 4, 16]) {
  for (const wait of [true, false]) {
    const name = `${threads} threads, wait ${wait ? "on" : "off"}`;
    Deno.test(`ReferenceDispatcher gives each page to one thread and its output back once: ${name}`, async () => {
      await allEnded(await dispatch("give-all", threads, wait));
    });
  }
}

Deno.test("ReferenceDispatcher.flush leaves the outputs for which there is no room", async () => {
  await allEnded(await dispatch("flush-some", 4, true));
});

Deno.test("ReferenceDispatcher throws when a thread failed, instead of waiting for it", async () => {
  const all = await dispatch("meet-failure", 1, true, 1);
  await assertRejects(() => allEnded(all), Error, "Cannot compress page: 1");
});
