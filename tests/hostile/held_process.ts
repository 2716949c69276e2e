// deno-lint-ignore-file no-console -- a command
/**
 * Child process: a destination whose guest touches page 40, and says how that thread fares. Prints
 * JSON, a line a step, and never ends by itself. Arguments: how the guest's memory is backed, and what
 * becomes of its threads.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { FAULT_TASK } from "../../client/faults/fault_task.ts";
import { MAIN_CHANNEL_TASK } from "../../client/incoming/main_channel_task.ts";
import type { Backing } from "../../ffi/memory.ts";
import { waitingFaults } from "../../ffi/waiting_faults.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { until } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import type { Touch } from "./touching_worker.ts";

/** Which of the destination's threads dies while the guest waits, if any. */
export type Dying = "none" | "fault thread" | "main channel's thread";

/** What the guest waits as: it runs, or is still being loaded. */
export type Waiting = "running" | "loading";

/** What the process prints: its steps in this order. */
export type HeldStep =
  | { readonly step: "listening"; readonly port: number }
  | {
    readonly step: "touching" | "gave up" | "closed";
    readonly status: string;
    /** Threads that the userfaultfd holds. */
    readonly waiting: number;
    /** 1: the thread is still held; 2: it was let go. */
    readonly thread: number;
    /** What the thread found, once let go. */
    readonly found: number;
  };

const result = new Int32Array(new SharedArrayBuffer(8));
const toucher = new Worker(new URL("./touching_worker.ts", import.meta.url), { type: "module" });
const touch = (guest: StillGuest) => {
  const message: Touch = {
    address: guest.blocks[0]!.address + 40 * 4096,
    result: result.buffer as SharedArrayBuffer,
  };
  toucher.postMessage(message);
};
const dying = Deno.args[1] as Dying;
const loading = Deno.args[2] as Waiting === "loading";
const guest = new StillGuest(touch);
if (loading) {
  guest.load = (state, memory) => {
    StillGuest.prototype.load.call(guest, state, memory);
    touch(guest);
    return new Promise(() => {}); // it gets its page, or never gets on
  };
}
const destination = new Destination({ guest, backing: Deno.args[0] as Backing });
const address = await destination.listen(LOOPBACK);
const userfaultfd = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name)).find(
  (fd) => Deno.readLinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[userfaultfd]",
)!;
const say = (step: HeldStep) => console.log(JSON.stringify(step));
const report = (step: "touching" | "gave up" | "closed") =>
  say({
    step,
    status: destination.status,
    waiting: waitingFaults(userfaultfd),
    thread: result[0]!,
    found: result[1]!,
  });
if (address.transport === "tcp") say({ step: "listening", port: address.port });
await until("a held thread", () => waitingFaults(userfaultfd) === 1);
report("touching");
if (dying !== "none") {
  await until("the request", () => destination.statistics().requests === 1);
  const { thread } = dying === "fault thread" ? FAULT_TASK : MAIN_CHANNEL_TASK;
  ThreadPool.shared.kill(thread);
}
await (loading ? destination.finished.catch(() => {}) : destination.waitFor("postcopy-paused"));
// A thread that was made to fault again is in no userfaultfd for a moment.
const held = () => until("a held thread, still", () => waitingFaults(userfaultfd) === 1);
await held();
report("gave up");
await destination.close();
await held();
report("closed");
setInterval(() => {}, 1 << 30); // told by a signal
