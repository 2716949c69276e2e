import "../support/native.ts";
import { assertEquals, assertGreater, assertRejects, assertThrows } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { WorkerThreadError } from "../../migration/threads/failure.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Random } from "../support/random.ts";
import {
  COUNT,
  type CounterInit,
  FAIL,
  GREEDY,
  type PoolMessage,
  SLEEP,
  THREAD,
  UNMADE,
} from "./pool_tasks.ts";

/** Counters on a pool, each with an eventfd. */
class Counters implements Disposable {
  readonly counts = new SharedArrayBuffer(4 * 2000);
  readonly messages: PoolMessage[] = [];
  readonly #words = new Int32Array(this.counts);
  readonly #pool: ThreadPool;
  readonly #stack = new DisposableStack();
  #made = 0;

  constructor(pool: ThreadPool) {
    this.#pool = pool;
  }

  /** Runs a counter that ends at `limit`. */
  run(
    limit: number,
  ): { readonly task: PoolTask<CounterInit, PoolMessage>; readonly event: Eventfd } {
    const event = this.#stack.use(new Eventfd());
    const task = this.#pool.task(COUNT, (message) => this.messages.push(message));
    task.run({ fd: event.fd, counts: this.counts, index: this.#made++, limit });
    return { task, event };
  }

  count(index: number): number {
    return Atomics.load(this.#words, index);
  }

  of(kind: PoolMessage["kind"]): number {
    return this.messages.filter((message) => message.kind === kind).length;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

Deno.test(
  "ThreadPool runs the tasks of a thousand sessions on one thread, ended in any order",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    using counters = new Counters(pool);
    const random = new Random(11);
    const tasks = Array.from({ length: 1000 }, () => counters.run(3));
    const left = tasks.flatMap((_, index) => [index, index, index]);
    while (left.length > 0) {
      const [index] = left.splice(random.below(left.length), 1);
      const before = counters.count(index!);
      tasks[index!]!.event.signal();
      if (random.oneIn(20)) await until("a count", () => counters.count(index!) > before);
      else if (left.includes(index!)) await until("a count", () => counters.count(index!) > before);
    }
    await within("all tasks to end", Promise.all(tasks.map(({ task }) => task.join())));
    assertEquals(counters.messages.length, 1000 * (1 + 3 + 1));
    const ids = counters.messages.flatMap((message) =>
      message.kind === "thread" ? [message.id] : []
    );
    assertEquals(new Set(ids).size, 1);
    assertEquals(pool.threads, 0);
  }),
);

Deno.test(
  "ThreadPool spreads tasks over its threads, and starts no more than there are sessions",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 3, linger: 0 });
    using counters = new Counters(pool);
    assertEquals(pool.threads, 0);
    const tasks = [counters.run(1)];
    assertEquals(pool.threads, 1);
    tasks.push(counters.run(1), counters.run(1), counters.run(1), counters.run(1), counters.run(1));
    assertEquals(pool.threads, 3);
    await until("all to run", () => counters.of("thread") === 6);
    const ids = counters.messages.map((message) => message.kind === "thread" ? message.id : 0);
    const each = [...new Set(ids)].map((id) => ids.filter((other) => other === id).length);
    assertEquals(each, [2, 2, 2]);
    for (const { event } of tasks) event.signal();
    await within("all to end", Promise.all(tasks.map(({ task }) => task.join())));
  }),
);

Deno.test(
  "ThreadPool wakes a task by its event or its time, whichever comes first",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    using never = new Eventfd();
    using event = new Eventfd();
    const heard: PoolMessage[] = [];
    const late = pool.task(SLEEP, (message) => heard.push(message));
    late.run({ fd: never.fd, nanoseconds: 1e6 });
    await within("the time", late.join());
    assertEquals(heard, [{ kind: "woken", found: 0 }]);
    const early = pool.task(SLEEP, (message) => heard.push(message));
    early.run({ fd: event.fd, nanoseconds: 1000e9 });
    event.signal();
    await within("the event", early.join());
    assertEquals(heard[1], { kind: "woken", found: 1 });
  }),
);

Deno.test(
  "ThreadPool gives other tasks their turn beside one that never waits",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    using counters = new Counters(pool);
    const stop = new SharedArrayBuffer(8);
    const words = new Int32Array(stop);
    const greedy = pool.task(GREEDY);
    greedy.run({ stop });
    const { task, event } = counters.run(50);
    for (let count = 0; count < 50; count++) {
      event.signal();
      await until("a count", () => counters.count(0) > count);
    }
    await within("the counter to end", task.join());
    const steps = Atomics.load(words, 1);
    await until("the greedy one to go on", () => Atomics.load(words, 1) > steps);
    Atomics.store(words, 0, 1);
    await within("the greedy one to end", greedy.join());
  }),
);

Deno.test(
  "ThreadPool ends a task that throws, alone, with what it threw",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    using counters = new Counters(pool);
    const { task, event } = counters.run(1);
    const heard: PoolMessage[] = [];
    const failing = pool.task(FAIL, (message) => heard.push(message));
    failing.run("No such page");
    const error = await assertRejects(() => within("the end", failing.ended), WorkerThreadError);
    assertEquals([error.name, error.code, error.message], ["RangeError", "TRIED", "No such page"]);
    assertEquals(heard, [{ kind: "disposed" }]);
    const unmade = pool.task(UNMADE);
    unmade.run(null);
    const other = await assertRejects(() => within("the end", unmade.ended), WorkerThreadError);
    assertEquals(other.message, "Cannot be made");
    event.signal();
    await within("the counter to end", task.ended);
    assertEquals(counters.count(0), 1);
  }),
);

Deno.test(
  "ThreadPool fails the tasks of a thread that dies, and replaces the thread",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 2, linger: 0 });
    using counters = new Counters(pool);
    const tasks = [counters.run(1), counters.run(1), counters.run(1)];
    await until("all to run", () => counters.of("thread") === 3);
    pool.kill(THREAD);
    for (const { task } of tasks) {
      const error = await assertRejects(() => within("the end", task.ended), WorkerThreadError);
      assertEquals(error.code, "THREAD_DIED");
      await task.join();
    }
    assertEquals(pool.threads, 0);
    const next = counters.run(1);
    next.event.signal();
    await within("a task on a new thread", next.task.ended);
    assertEquals(counters.count(3), 1);
  }),
);

Deno.test(
  "ThreadPool fails the tasks of a module that cannot be run, with its name",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ linger: 0 });
    const thread = new URL("./no_such_worker.ts", import.meta.url);
    const task = pool.task({ thread, name: "any", urgent: false });
    const error = await assertRejects(() => task.prepare(), WorkerThreadError);
    assertEquals(error.code, "CANNOT_RUN");
    assertEquals(error.message.includes("no_such_worker.ts"), true);
    await task.join();
  }),
);

Deno.test(
  "ThreadPool keeps idle threads for the next session, and ends them when it is closed",
  leavingNoDescriptors(async () => {
    const pool = new ThreadPool({ urgentThreads: 1, linger: 1e9 });
    using counters = new Counters(pool);
    for (let session = 0; session < 2; session++) {
      const { task, event } = counters.run(1);
      event.signal();
      await within("the end", task.join());
      assertEquals(pool.threads, 1);
    }
    const ids = counters.messages.flatMap((message) =>
      message.kind === "thread" ? [message.id] : []
    );
    assertEquals(ids[0], ids[1]);
    await within("the pool to close", pool.close());
    assertEquals(pool.threads, 0);
    await pool.close();
  }),
);

Deno.test(
  "ThreadPool's thread is not woken by tasks at rest",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    using counters = new Counters(pool);
    const tasks = Array.from({ length: 100 }, () => counters.run(1));
    await until("all to run", () => counters.of("thread") === 100);
    const [first] = counters.messages;
    const id = first!.kind === "thread" ? first!.id : 0;
    const status = () => Deno.readTextFileSync(`/proc/self/task/${id}/status`);
    const switches = () => Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status())![1]);
    // Still on its way to rest, and maybe waiting for a processor; from then on nothing may move.
    let [before, still] = [-1, 0];
    await until("the thread to rest", () => {
      const last = before;
      before = switches();
      still = last === before && /^State:\s*S/m.test(status()) ? still + 1 : 0;
      return still === 50;
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assertEquals(switches(), before);
    for (const { event } of tasks) event.signal();
    await within("all to end", Promise.all(tasks.map(({ task }) => task.join())));
    assertGreater(before, 0);
  }),
);

Deno.test("ThreadPool refuses numbers of threads that cannot be", () => {
  for (const urgentThreads of [0, -1, 1.5, 256, NaN]) {
    assertThrows(() => new ThreadPool({ urgentThreads }), RangeError, `${urgentThreads}`);
    const compressionThreads = urgentThreads;
    assertThrows(() => new ThreadPool({ compressionThreads }), RangeError, `${urgentThreads}`);
  }
});
