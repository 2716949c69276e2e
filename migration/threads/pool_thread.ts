/** A pool's thread from the inside: one epoll, and the steps of all its tasks. */

import { receiveMessageOnPort } from "node:worker_threads";
import type { MessagePort as NodeMessagePort } from "node:worker_threads";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Epoll } from "../../ffi/epoll.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { libc } from "../../ffi/libc.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { Deadlines, type Due } from "./deadlines.ts";
import { type Failure, toFailure } from "./failure.ts";
import type { Task, TaskMaker, TaskPoll, Tell } from "./task.ts";

/** The first message of a thread. */
export interface PoolThreadInit {
  /** Where orders come; `wakeFd` is signalled when one is there. */
  readonly port: MessagePort;
  readonly wakeFd: number;
}

/** What a thread is told to do. */
export type Order =
  /** Make a task and run it; `id` is the owner's. */
  | { readonly kind: "open"; readonly id: number; readonly task: string; readonly init: unknown }
  /** End the thread; its tasks have ended. */
  | { readonly kind: "stop" }
  /** For tests: end the thread as a fault of its own would. */
  | { readonly kind: "die" };

/** What a thread tells its owner. */
export type PoolReport =
  | { readonly kind: "ready" }
  | { readonly kind: "message"; readonly id: number; readonly message: unknown }
  | { readonly kind: "ended"; readonly id: number }
  | { readonly kind: "failed"; readonly id: number; readonly failure: Failure }
  | { readonly kind: "stopped" }
  /** The thread itself failed; its tasks were disposed of. */
  | { readonly kind: "died"; readonly failure: Failure };

/** Tag of the thread's own eventfd. */
const WAKE = 0xffff_ffff;

// deno-lint-ignore no-explicit-any -- each maker knows the type of its own first message
type Makers = Readonly<Record<string, TaskMaker<any, any>>>;

interface Watch {
  readonly runner: Runner;
  fd: number;
  events: number;
  found: number;
}

/** One task on its thread, and its poll. */
class Runner implements TaskPoll, Due {
  readonly id: number;
  readonly #loop: PoolLoop;
  /** By slot: the index of the watch in the loop's table, or -1. */
  readonly #slots: number[] = [];
  readonly #ready: Watch[] = [];
  time = Infinity;
  place = -1;
  queued = false;
  task: Task | undefined;

  constructor(id: number, loop: PoolLoop) {
    this.id = id;
    this.#loop = loop;
  }

  watch(slot: number, fd: number, events: number): void {
    while (this.#slots.length <= slot) this.#slots.push(-1);
    const tag = this.#slots[slot]!;
    if (tag < 0) {
      if (fd >= 0) this.#slots[slot] = this.#loop.addWatch(this, fd, events);
    } else if (fd < 0) {
      this.#slots[slot] = -1;
      this.#loop.removeWatch(tag);
    } else {
      this.#loop.changeWatch(tag, fd, events);
    }
  }

  ready(slot: number): number {
    const tag = this.#slots[slot] ?? -1;
    return tag < 0 ? 0 : this.#loop.foundBy(tag);
  }

  get found(): number {
    return this.#ready.length;
  }

  sleep(nanoseconds: number): void {
    this.#loop.wakeAt(this, monotonicNanoseconds() + nanoseconds);
  }

  again(): void {
    this.#loop.queue(this);
  }

  spinUntil(time: number): void {
    this.#loop.spinUntil(time);
  }

  /** Something was found. */
  find(watch: Watch, events: number): void {
    if (watch.found === 0) this.#ready.push(watch);
    watch.found |= events;
  }

  /** Makes a step; true when it was the last. */
  step(): boolean {
    const done = this.task!.step();
    for (const watch of this.#ready) watch.found = 0;
    this.#ready.length = 0;
    return done;
  }

  /** Takes all descriptors out. */
  unwatch(): void {
    for (const tag of this.#slots) if (tag >= 0) this.#loop.removeWatch(tag);
    this.#slots.length = 0;
  }
}

/** Runs tasks until it is told to stop. */
class PoolLoop {
  readonly #makers: Makers;
  readonly #port: NodeMessagePort;
  readonly #wakeFd: number;
  readonly #tell: Tell<PoolReport>;
  readonly #epoll = new Epoll();
  readonly #watches: (Watch | undefined)[] = [];
  readonly #freeWatches: number[] = [];
  readonly #deadlines = new Deadlines<Runner>();
  #queue: Runner[] = [];
  #running: Runner[] = [];
  readonly #runners = new Set<Runner>();
  #spinUntil = 0;
  #stopped = false;

  constructor(init: PoolThreadInit, makers: Makers, tell: Tell<PoolReport>) {
    this.#makers = makers;
    this.#port = init.port as unknown as NodeMessagePort;
    this.#wakeFd = init.wakeFd;
    this.#tell = tell;
    this.#epoll.add(init.wakeFd, PollEvents.IN, WAKE);
  }

  run(): void {
    try {
      this.#takeOrders(); // they may have come before the wake-up was listened to
      while (!this.#stopped) {
        this.#look();
        this.#runQueue();
      }
    } finally {
      for (const runner of this.#runners) this.#close(runner);
      this.#epoll.close();
    }
  }

  addWatch(runner: Runner, fd: number, events: number): number {
    const tag = this.#freeWatches.pop() ?? this.#watches.length;
    this.#epoll.add(fd, events, tag);
    this.#watches[tag] = { runner, fd, events, found: 0 };
    return tag;
  }

  changeWatch(tag: number, fd: number, events: number): void {
    const watch = this.#watches[tag]!;
    if (watch.fd === fd) {
      if (watch.events === events) return;
      this.#epoll.modify(fd, events, tag);
    } else {
      this.#epoll.remove(watch.fd);
      this.#epoll.add(fd, events, tag);
      watch.fd = fd;
    }
    watch.events = events;
  }

  removeWatch(tag: number): void {
    const watch = this.#watches[tag]!;
    this.#epoll.remove(watch.fd);
    watch.found = 0;
    this.#watches[tag] = undefined;
    this.#freeWatches.push(tag);
  }

  foundBy(tag: number): number {
    return this.#watches[tag]!.found;
  }

  wakeAt(runner: Runner, time: number): void {
    this.#deadlines.set(runner, time);
  }

  queue(runner: Runner): void {
    if (runner.queued) return;
    runner.queued = true;
    this.#queue.push(runner);
  }

  spinUntil(time: number): void {
    if (time > this.#spinUntil) this.#spinUntil = time;
  }

  /** Waits until some task can go on, and queues all that can. */
  #look(): void {
    const count = this.#epoll.wait(this.#patience());
    let orders = false;
    for (let index = 0; index < count; index++) {
      const tag = this.#epoll.tag(index);
      if (tag === WAKE) {
        orders = true;
        continue;
      }
      const watch = this.#watches[tag];
      if (watch === undefined) continue;
      watch.runner.find(watch, this.#epoll.events(index));
      this.queue(watch.runner);
    }
    if (this.#deadlines.next !== Infinity) {
      const now = monotonicNanoseconds();
      for (
        let due = this.#deadlines.take(now);
        due !== undefined;
        due = this.#deadlines.take(now)
      ) {
        this.queue(due);
      }
    }
    if (orders) {
      clearEvent(this.#wakeFd);
      this.#takeOrders();
    }
  }

  #patience(): number {
    if (this.#queue.length > 0) return 0;
    const { next } = this.#deadlines;
    if (next === Infinity && this.#spinUntil === 0) return Infinity;
    const now = monotonicNanoseconds();
    if (this.#spinUntil > now) return 0;
    this.#spinUntil = 0;
    return Math.max(0, next - now);
  }

  /** One step of each that can go on. */
  #runQueue(): void {
    const running = this.#queue;
    this.#queue = this.#running;
    this.#running = running;
    for (const runner of running) {
      runner.queued = false;
      if (runner.task !== undefined) this.#step(runner);
    }
    running.length = 0;
  }

  #step(runner: Runner): void {
    this.#deadlines.set(runner, Infinity);
    try {
      if (!runner.step()) return;
      this.#close(runner);
      this.#tell({ kind: "ended", id: runner.id });
    } catch (error) {
      this.#fail(runner, error);
    }
  }

  #takeOrders(): void {
    while (true) {
      const received = receiveMessageOnPort(this.#port) as { message: Order } | undefined;
      if (received === undefined) return;
      const order = received.message;
      if (order.kind === "die") throw new Error("Thread was ended");
      if (order.kind === "stop") this.#stopped = true;
      else this.#open(order);
    }
  }

  #open({ id, task, init }: Extract<Order, { kind: "open" }>): void {
    const runner = new Runner(id, this);
    this.#runners.add(runner);
    try {
      const tell = (message: unknown) => this.#tell({ kind: "message", id, message });
      runner.task = this.#makers[task]!(init, tell, runner);
      this.queue(runner);
    } catch (error) {
      this.#fail(runner, error);
    }
  }

  #fail(runner: Runner, error: unknown): void {
    let failure = toFailure(error);
    try {
      this.#close(runner);
    } catch (closing) {
      failure = toFailure(closing);
    }
    this.#tell({ kind: "failed", id: runner.id, failure });
  }

  #close(runner: Runner): void {
    this.#runners.delete(runner);
    this.#deadlines.set(runner, Infinity);
    runner.unwatch();
    const { task } = runner;
    runner.task = undefined;
    task?.[Symbol.dispose]();
  }
}

/**
 * Runs a pool's thread: a worker's module calls it.
 *
 * @param makers the tasks that this thread can run, by name
 * @param prepare called once on the thread, before it says that it is ready
 */
export function runPoolThread(makers: Makers, prepare: () => void = () => {}): void {
  const scope = self as unknown as {
    onmessage: ((event: MessageEvent<PoolThreadInit>) => void) | null;
    postMessage(report: PoolReport): void;
  };
  scope.onmessage = ({ data }) => {
    try {
      new PoolLoop(data, makers, (report) => scope.postMessage(report)).run();
      scope.postMessage({ kind: "stopped" });
    } catch (error) {
      scope.postMessage({ kind: "died", failure: toFailure(error) });
    }
  };
  libc(); // opening it takes 10 ms, for which no task is to wait
  prepare();
  scope.postMessage({ kind: "ready" });
}
