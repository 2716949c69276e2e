import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { WorkerThreadError } from "../../migration/threads/failure.ts";
import { type TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Pair } from "./pair.ts";
import type { SendingJob, SendingReport } from "./sending_worker.ts";

const MIB = 1 << 20;
const LENGTH = 16 * MIB; // more than a socket takes
const THREAD = new URL("./sending_worker.ts", import.meta.url);
const SENDING: TaskKind<SendingJob, SendingReport> = {
  thread: THREAD,
  name: "sending",
  urgent: false,
};
const PASSING: TaskKind<null, never> = { thread: THREAD, name: "passing", urgent: false };

/** A task that sends on a thread of its own, its channel, and what it reported so far. */
class Sending implements AsyncDisposable {
  readonly pool = new ThreadPool({ bulkThreads: 1, linger: 0 });
  readonly memory: MappedMemory = MappedMemory.anonymous(LENGTH);
  readonly wake = new Eventfd();
  readonly pair: Pair;
  readonly reports: SendingReport[] = [];
  readonly waits = Promise.withResolvers<void>();
  readonly #flag = new SharedArrayBuffer(4);
  readonly task = this.pool.task(SENDING, (report) => {
    this.reports.push(report);
    if (report === "waits") this.waits.resolve();
  });

  private constructor(pair: Pair, stallTimeout: number) {
    this.pair = pair;
    const words = new Uint32Array(this.memory.bytes().buffer, this.memory.bytes().byteOffset);
    for (let at = 0; at < LENGTH / 4; at++) words[at] = at * 2654435761;
    this.task.run({
      fd: pair.here.fd,
      address: this.memory.address,
      length: LENGTH,
      wakeFd: this.wake.fd,
      flag: this.#flag,
      stallTimeout,
    });
  }

  /** Has it begin on a channel that nobody reads yet. */
  static async begin(stallTimeout: number): Promise<Sending> {
    return new Sending(await Pair.connectUnix(), stallTimeout);
  }

  stop(): void {
    Atomics.store(new Int32Array(this.#flag), 0, 1);
    this.wake.signal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await within("the task's end", this.task.join());
    await this.pool.close();
    this.pair[Symbol.dispose]();
    this.wake.close();
    this.memory.close();
  }
}

Deno.test(
  "SteppedSender.send sends all, in its order, to a peer that reads when it likes",
  leavingNoDescriptors(async () => {
    await using sending = await Sending.begin(20_000);
    await within("the socket to be full", sending.waits.promise);
    const bytes = new Uint8Array(LENGTH);
    for (let at = 0; at < LENGTH;) {
      const count = await within("bytes", sending.pair.there.receive(bytes.subarray(at)));
      if (count === 0) throw new Error(`Ended after ${at} bytes`);
      at += count;
      sending.wake.signal(); // what else wakes the task is no room
    }
    await within("the task's end", sending.task.ended);
    assertEquals(sending.reports, ["waits", true]);
    assertEquals(bytes, sending.memory.bytes().slice());
  }),
);

Deno.test(
  "SteppedSender.send gives up on a peer that takes nothing",
  leavingNoDescriptors(async () => {
    await using sending = await Sending.begin(10);
    const error = await within(
      "the end",
      assertRejects(() => sending.task.ended, WorkerThreadError),
    );
    assertEquals([error.name, error.code], ["MigrationError", "STALLED"]);
    assertEquals(
      error.message,
      "Destination has taken nothing on the main channel for 0.01 s: see whether it still runs; " +
        "--stall-timeout sets how long to wait",
    );
  }),
);

Deno.test(
  "SteppedSender.send gives up on a peer that takes nothing, however often others wake the task",
  leavingNoDescriptors(async () => {
    await using sending = await Sending.begin(50);
    let over = false;
    const ended = sending.task.ended.catch((error) => error).finally(() => over = true);
    await within(
      "the end",
      (async () => {
        while (!over) {
          sending.wake.signal();
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      })(),
    );
    assertEquals((await ended).code, "STALLED");
  }),
);

Deno.test(
  "SteppedSender.send returns at once when it is told to stop",
  leavingNoDescriptors(async () => {
    await using sending = await Sending.begin(3_600_000);
    await within("the socket to be full", sending.waits.promise);
    sending.stop();
    await within("the task's end", sending.task.ended);
    assertEquals(sending.reports, ["waits", false]);
  }),
);

Deno.test(
  "SteppedSender.send leaves its thread to other tasks while it waits",
  leavingNoDescriptors(async () => {
    await using sending = await Sending.begin(3_600_000);
    await within("the socket to be full", sending.waits.promise);
    const other = sending.pool.task(PASSING);
    other.run(null);
    await within("the other task's end", other.ended);
    assertEquals([sending.pool.threads, sending.reports], [1, ["waits"]]);
  }),
);
