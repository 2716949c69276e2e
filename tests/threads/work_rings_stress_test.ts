import { assert, assertEquals, assertGreater, assertGreaterOrEqual } from "@std/assert";
import { Own, Shared, State, type WorkRingsShape } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { until, within } from "../support/deadline.ts";
import { Random } from "../support/random.ts";
import { Barrier } from "./barrier.ts";
import type { RaceJob } from "./race_worker.ts";
import type { SubmitJob, SubmitReport } from "./submit_worker.ts";
import { type Pauses, WORDS } from "./work_ring_jobs.ts";
import type { WorkJob, WorkReport } from "./work_ring_worker.ts";

/** A thread that does one job after another, of this test or the next: to start one takes 20 ms. */
class Thread<J, R> {
  readonly #entry: URL;
  #worker: Worker | undefined;
  #busy = false;

  constructor(entry: string) {
    this.#entry = new URL(entry, import.meta.url);
  }

  do(job: J): Promise<R> {
    // It hangs in the job of a test that failed.
    if (this.#busy) this.end();
    const worker = this.#worker ??= new Worker(this.#entry, { type: "module" });
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    this.#busy = true;
    worker.onmessage = ({ data }) => {
      this.#busy = false;
      resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage(job);
    return promise;
  }

  end(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

/** The threads of all tests. */
class Threads {
  readonly #submitter = new Thread<SubmitJob, SubmitReport>("./submit_worker.ts");
  readonly #workers = Array.from(
    { length: 16 },
    () => new Thread<WorkJob, WorkReport>("./work_ring_worker.ts"),
  );

  /** Starts what can be ended by stop() only. */
  start({ shape, requests, seed, submitter, worker, deaths = [], oneByOne = false }: Run) {
    const rings = new WorkRings(shape);
    const { buffer } = rings;
    const workers = Array.from({ length: shape.workers }, async (_, index) => {
      const report = await this.#workers[index]!.do({
        shape,
        buffer,
        seed: seed + index,
        pauses: worker,
        worker: index,
        diesAt: deaths[index] ?? -1,
        last: deaths.length === 0 ? requests - 1 : -1,
      });
      if (report.died) rings.bury(index);
      return report;
    });
    const submit = (): Promise<SubmitReport> =>
      this.#submitter.do({ shape, buffer, seed, pauses: submitter, requests, oneByOne });
    const ended = Promise.all(workers);
    ended.catch(() => {});
    return { rings, submit, ended };
  }

  /** Lets so many requests be answered, and buries who dies. */
  async run(run: Run) {
    const { rings, submit, ended } = this.start(run);
    // So the first request wakes a worker, and the last answer wakes the submitter: some must sleep.
    if (run.deaths === undefined) await allAsleep(rings);
    else if (run.shape.workers === 1) await allEntered(rings);
    const submitting = submit();
    // A worker that fails fails the run at once.
    await within("all answers", Promise.race([submitting, ended]), PATIENCE);
    const submitted = await within("all answers", submitting, PATIENCE);
    rings.stop();
    const workers = await within("the workers to stop", ended);
    assertEquals(workers.reduce((sum, each) => sum + each.finished, 0), submitted.taken);
    assertEquals(submitted.taken + submitted.own, run.requests);
    const died = workers.filter((each) => each.died).length;
    return { ...submitted, died, workersWakes: workers.reduce((sum, each) => sum + each.wakes, 0) };
  }

  end(): void {
    for (const thread of [this.#submitter, ...this.#workers]) thread.end();
  }
}

/** Milliseconds for all answers: more than those that tell that a wake-up was lost. */
const PATIENCE = 180_000;

const threads = new Threads();
Deno.test.afterAll(() => threads.end());

/** What is run. */
interface Run {
  readonly shape: WorkRingsShape;
  readonly requests: number;
  readonly seed: number;
  readonly submitter: Pauses;
  readonly worker: Pauses;
  /** At which of its requests each worker dies; -1 or none: never. */
  readonly deaths?: readonly number[];
  readonly oneByOne?: boolean;
}

function allEntered(rings: WorkRings): Promise<void> {
  const states = workersWords(rings, Own.STATE);
  return until("all workers to enter", () => states().every((state) => state === State.ENTERED));
}

async function allAsleep(rings: WorkRings): Promise<void> {
  await allEntered(rings);
  const asleep = workersWords(rings, Own.ASLEEP);
  await until("all workers to sleep", () => asleep().every((flag) => flag === 1));
}

/** A word of each worker, looked at anew with each call. */
function workersWords({ shape, words }: WorkRings, word: number): () => number[] {
  return () =>
    Array.from(
      { length: shape.workers },
      (_, worker) => Atomics.load(words, Shared.WORKERS + worker * Own.WORDS + word),
    );
}

const NONE: Pauses = { short: 0, long: 0 };

const SHAPES = [
  { workers: 1, capacity: 16, requests: 600_000 },
  { workers: 1, capacity: 4, requests: 100_000 },
  { workers: 3, capacity: 16, requests: 1_000_000 },
  { workers: 3, capacity: 4, requests: 200_000 },
  { workers: 3, capacity: 1, requests: 20_000 },
  { workers: 16, capacity: 4, requests: 80_000 },
  { workers: 16, capacity: 1, requests: 20_000 },
];

for (const { workers, capacity, requests } of SHAPES) {
  Deno.test(`WorkRings of ${workers} x ${capacity} lose and double none of ${requests} requests`, async () => {
    const { wakes, workersWakes } = await threads.run({
      shape: { workers, capacity, words: WORDS },
      requests,
      seed: workers * 100 + capacity,
      submitter: { short: 32, long: 20_000 },
      worker: { short: 8, long: 20_000 },
    });
    assertGreater(wakes, 0);
    assertGreater(workersWakes, 0);
  });
}

Deno.test("WorkRings lose no wake-up when both sides sleep between any two requests", async () => {
  const { wakes, workersWakes } = await threads.run({
    shape: { workers: 1, capacity: 1, words: WORDS },
    requests: 20_000,
    seed: 1,
    // One time in four, at the very moment at which the other is about to sleep.
    submitter: { short: 2, long: 0, asleep: 4 },
    worker: { short: 2, long: 0, asleep: 4 },
    oneByOne: true,
  });
  assertGreater(wakes, 2500);
  assertGreater(workersWakes, 2500);
});

// Proved to notice: with COMPLETED published by a plain store, which the processor holds back behind
// the look at the flag, a wake-up was lost within 4200 rounds in 7 of 7 runs (two free cores do 60,000
// to 160,000 rounds); with a plain store of SUBMITTED or of the worker's flag in half of the runs.
Deno.test("WorkRings lose no wake-up when both sides act at the same moment", async () => {
  const shape = { workers: 1, capacity: 1, words: 1 };
  const rings = new WorkRings(shape);
  const barrier = new SharedArrayBuffer(128);
  const both = new Barrier(barrier, 0);
  const thread = new Thread<RaceJob, number>("./race_worker.ts");
  const ended = thread.do({ shape, buffer: rings.buffer, barrier });
  try {
    await allEntered(rings);
    // As many as go, and some: where the two threads share a core, they meet once in a time slice.
    const end = performance.now() + 500;
    let rounds = 0;
    while ((performance.now() < end || rounds < 200) && both.meet()) {
      rings.reserve();
      rings.submit();
      both.meet();
      const began = performance.now();
      const ready = rings.awaitResult(20_000);
      if (performance.now() - began > 19_000) {
        throw new Error(`A wake-up was lost in round ${rounds}`);
      }
      assert(ready && rings.take() >= 0);
      rings.release();
      rounds++;
    }
    both.leave();
    assertEquals(await within("the worker to end", ended), rounds);
  } finally {
    thread.end();
  }
});

Deno.test("WorkRings give back what dying workers leave, and nothing else", async () => {
  const random = new Random(9);
  let died = 0;
  let own = 0;
  for (let round = 0; round < 40; round++) {
    const workers = random.pick([1, 3, 16]);
    const report = await threads.run({
      shape: { workers, capacity: random.pick([1, 4, 16]), words: WORDS },
      requests: 3000,
      seed: round,
      submitter: random.pick([NONE, { short: 8, long: 1000 }]),
      worker: random.pick([NONE, { short: 8, long: 1000 }]),
      deaths: Array.from(
        { length: workers },
        () => random.oneIn(3) ? -1 : random.below(6000 / workers),
      ),
    });
    // At least the one that it was in the middle of.
    assertGreaterOrEqual(report.abandoned, report.died);
    died += report.died;
    own += report.own;
  }
  // A worker that is alone gets all requests, and dies of them: so in some rounds at least.
  assertGreater(died, 3);
  assertGreater(own, 0);
});

Deno.test("WorkRings.stop ends workers that sleep, and a submitter that does", async () => {
  const shape = { workers: 3, capacity: 4, words: WORDS };
  for (let round = 0; round < 20; round++) {
    const run = { shape, requests: 100, seed: round, submitter: NONE, worker: NONE };
    const { rings, submit, ended } = threads.start(run);
    await allAsleep(rings);
    // Outstanding, and nobody has been woken to answer it.
    rings.words[Shared.OUTSTANDING] = 1000;
    const submitting = submit();
    await until("the submitter to sleep", () => Atomics.load(rings.words, Shared.ASLEEP) === 1);
    rings.stop();
    await within("all to stop", Promise.all([submitting, ended]));
  }
});

Deno.test("WorkRings.stop ends all threads at any moment", async () => {
  const random = new Random(4);
  for (let round = 0; round < 25; round++) {
    const { rings, submit, ended } = threads.start({
      shape: { workers: 3, capacity: random.pick([1, 4, 16]), words: WORDS },
      requests: 1_000_000,
      seed: round,
      submitter: { short: 16, long: 200 },
      worker: { short: 16, long: 200 },
    });
    await allEntered(rings);
    const submitting = submit();
    const some = random.below(500);
    await until("some requests", () => workersWords(rings, Own.SUBMITTED)()[0]! > some);
    rings.stop();
    await within("all to stop", Promise.all([submitting, ended]));
  }
});
