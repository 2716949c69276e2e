import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertLessOrEqual, assertRejects } from "@std/assert";
import { clearEvent, Eventfd } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { REQUESTS_A_TURN } from "../../migration/threads/ring_task.ts";
import { SharedContexts } from "../../migration/threads/shared_contexts.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { submit } from "./ring_ends.ts";
import { Request, RING, RING_SHAPE, type RingTaskInit } from "./ring_tasks.ts";

/** A session's rings, served by one task. */
class RingSession implements AsyncDisposable {
  readonly rings = new WorkRings(RING_SHAPE);
  readonly task: PoolTask<RingTaskInit, never>;
  readonly #wake = new Eventfd();
  readonly #workerWake = new Eventfd();
  readonly #poll = new PollSet(1);

  constructor(pool: ThreadPool, gate: SharedArrayBuffer) {
    this.rings.wakeFd = this.#wake.fd;
    this.rings.wakeWorkerBy(0, this.#workerWake.fd);
    this.#poll.watch(0, this.#wake.fd, PollEvents.IN);
    this.task = pool.task(RING);
    this.task.run({ rings: this.rings.buffer, gate });
  }

  /** Resolves when requests can be submitted. */
  async entered(): Promise<void> {
    await until("the task", () => this.rings.reserve() >= 0);
  }

  /** The numbers that its requests got, in their order. */
  results(): number[] {
    const { rings } = this;
    const results: number[] = [];
    while (rings.outstanding > 0) {
      const slot = rings.take();
      if (slot >= 0) results.push(rings.words[rings.at(slot)]!);
      else if (rings.requestWake()) {
        assertEquals(this.#poll.wait(60_000), 1); // a wake-up that was lost
        clearEvent(this.#wake.fd);
      }
    }
    rings.release();
    return results;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.rings.stop();
    await within("the task to end", this.task.join());
    this.#wake.close();
    this.#workerWake.close();
  }
}

/** A pool with one thread, and what its tasks share. */
function arrange(): { readonly pool: ThreadPool; readonly gate: Int32Array<SharedArrayBuffer> } {
  const gate = new Int32Array(new SharedArrayBuffer(12));
  return { pool: new ThreadPool({ compressionThreads: 1, linger: 0 }), gate };
}

Deno.test(
  "RingTask gives another session its turn beside one that floods the thread",
  leavingNoDescriptors(async () => {
    const { pool, gate } = arrange();
    await using _ = pool;
    await using flood = new RingSession(pool, gate.buffer);
    await using other = new RingSession(pool, gate.buffer);
    await flood.entered();
    await other.entered();
    assertEquals(pool.threads, 1);
    submit(flood.rings, Request.WAIT);
    await until("the thread to stand at the gate", () => Atomics.load(gate, 2) === 1);
    // Meanwhile both have submitted: the one all that its ring takes, the other a few.
    for (let count = 1; count < RING_SHAPE.capacity!; count++) submit(flood.rings, Request.COUNT);
    for (let count = 0; count < REQUESTS_A_TURN; count++) submit(other.rings, Request.COUNT);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    const [last] = other.results().slice(-1);
    // The thread finds that it is wanted behind the first turn, when the second is queued already.
    assertLessOrEqual(last!, 3 * REQUESTS_A_TURN);
    assertEquals(flood.results().at(-1), RING_SHAPE.capacity! + REQUESTS_A_TURN);
  }),
);

Deno.test(
  "RingTask sleeps through no request of many sessions, each of which submits when it has rested",
  leavingNoDescriptors(async () => {
    const { pool, gate } = arrange();
    await using _ = pool;
    await using stack = new AsyncDisposableStack();
    const sessions = Array.from(
      { length: 20 },
      () => stack.use(new RingSession(pool, gate.buffer)),
    );
    for (const session of sessions) await session.entered();
    let before = 0;
    for (let round = 0; round < 500; round++) {
      const session = sessions[round % 20]!;
      for (let count = round % 7; count >= 0; count--) submit(session.rings, Request.COUNT);
      for (const result of session.results()) assertEquals(result, ++before);
    }
    assertGreater(sessions[0]!.rings.cpuTime(0), 0);
  }),
);

Deno.test(
  "RingTask gives back what it leaves behind when its work fails, or its thread dies",
  leavingNoDescriptors(async () => {
    const { pool, gate } = arrange();
    await using _ = pool;
    await using failing = new RingSession(pool, gate.buffer);
    await using other = new RingSession(pool, gate.buffer);
    await failing.entered();
    await other.entered();
    const left = async ({ rings, task }: RingSession, message: string) => {
      const error = await assertRejects(() => within("the end", task.ended));
      assert((error as Error).message.includes(message));
      assertEquals(rings.requestWake(), false);
      assert(rings.abandoned() >= 0);
      assertEquals([rings.outstanding, rings.reserve(), rings.allBusy], [0, -1, false]);
    };
    submit(failing.rings, Request.FAIL);
    await left(failing, "No such work");
    // Its thread goes on with the others; now that dies too.
    submit(other.rings, Request.COUNT);
    assertEquals(other.results(), [1]);
    submit(other.rings, Request.WAIT);
    await until("the thread to stand at the gate", () => Atomics.load(gate, 2) === 1);
    for (let count = 0; count <= REQUESTS_A_TURN; count++) submit(other.rings, Request.COUNT);
    pool.kill(RING.thread);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    await assertRejects(() => within("the end", other.task.ended), Error, "Thread was ended");
    let [done, back] = [0, 0];
    while (other.rings.take() >= 0) done++;
    while (other.rings.abandoned() >= 0) back++;
    assertEquals([done + back, other.rings.outstanding], [REQUESTS_A_TURN + 2, 0]);
    await using next = new RingSession(pool, gate.buffer);
    await next.entered();
    submit(next.rings, Request.COUNT);
    assertEquals(next.results().length, 1);
  }),
);

Deno.test("SharedContexts lend one for the same settings, and close it behind the last", () => {
  const closed: string[] = [];
  const made: string[] = [];
  const contexts = new SharedContexts<Disposable>();
  const lend = (name: string) =>
    contexts.lend(name, () => {
      made.push(name);
      return { [Symbol.dispose]: () => void closed.push(name) };
    });
  const [one, same, other] = [lend("zlib 1"), lend("zlib 1"), lend("zstd 1")];
  assertEquals([one.context === same.context, made, contexts.size], [
    true,
    ["zlib 1", "zstd 1"],
    2,
  ]);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  other[Symbol.dispose]();
  assertEquals([closed, contexts.size], [["zstd 1"], 1]);
  same[Symbol.dispose]();
  assertEquals([closed, contexts.size], [["zstd 1", "zlib 1"], 0]);
  lend("zlib 1")[Symbol.dispose]();
  assertEquals(made.length, 3);
});
