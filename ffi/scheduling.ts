/** Scheduling of the calling thread: urgent threads before background ones. */

import { libc } from "./libc.ts";
import { syscallNumbers } from "./platform.ts";

// From include/uapi/linux/sched.h and resource.h.
const SCHED_OTHER = 0;
const SCHED_BATCH = 3;
const SCHED_IDLE = 5;
const SCHED_RESET_ON_FORK = 0x4000_0000;
const PRIO_PROCESS = 0;
/** Offsets in struct sched_attr of include/uapi/linux/sched/types.h, and its bytes in its first version. */
const SchedAttr = { SIZE: 0, NICE: 16, RUNTIME: 24, BYTES: 48 } as const;
/** The shortest that the kernel grants, in nanoseconds. */
const SHORTEST_SLICE = 100_000n;

/** Returns the kernel's number of the calling thread, as userfaultfd and /proc name it. */
export function threadId(): number {
  return libc().syscall(BigInt(syscallNumbers().gettid), 0n);
}

/**
 * Sets the nice value of the calling thread alone.
 *
 * @param nice -20 (first) to 19 (last)
 * @returns false when the kernel refuses, as it does for an unprivileged thread that wants less
 */
export function setThreadNice(nice: number): boolean {
  return libc().setpriority(PRIO_PROCESS, threadId(), nice) === 0;
}

/**
 * Asks for the shortest time slice for the calling thread. From Linux 6.12 on, one that wakes on a processor whose
 * thread has a longer slice need not wait until that has had its own, 1 to 3 ms; before, nothing comes of it. Nobody
 * needs a right for it.
 *
 * @returns false when the kernel refuses
 */
export function setShortestSlice(): boolean {
  const bytes = new Uint8Array(SchedAttr.BYTES);
  const attributes = new DataView(bytes.buffer);
  attributes.setUint32(SchedAttr.SIZE, bytes.length, true);
  attributes.setInt32(SchedAttr.NICE, libc().getpriority(PRIO_PROCESS, threadId()), true);
  attributes.setBigUint64(SchedAttr.RUNTIME, SHORTEST_SLICE, true);
  return libc().sched_setattr(BigInt(syscallNumbers().sched_setattr), 0n, bytes, 0n) === 0;
}

/** Scheduling classes a thread may give itself. */
export type SchedulingPolicy = "other" | "batch" | "idle";

/**
 * Sets the scheduling class of the calling thread. `"batch"` does not preempt others when it wakes;
 * `"idle"` is preempted by every other class at once and runs when nothing else wants the core.
 *
 * @returns false when the kernel refuses
 */
export function setThreadPolicy(policy: SchedulingPolicy): boolean {
  const number = policy === "batch" ? SCHED_BATCH : policy === "idle" ? SCHED_IDLE : SCHED_OTHER;
  const parameter = new Uint8Array(4); // struct sched_param { int priority; }, 0 for these classes
  return libc().sched_setscheduler(0, number | SCHED_RESET_ON_FORK, parameter) === 0;
}

/**
 * Makes the calling thread one that gives way: it moves pages that nobody waits for. It does not
 * preempt others when it wakes, and gets a third of a core that an ordinary thread wants too; with
 * less, a guest that keeps all cores busy holds its own memory back (nice 10: 512 MiB beside two busy
 * threads on two cores took 1.5 s instead of 0.6).
 */
export function becomeBackgroundThread(): void {
  setThreadPolicy("batch");
  setThreadNice(5);
}

/**
 * Makes the calling thread one that others give way to: somebody waits for what it does. Nice -15 is refused to
 * unprivileged users. Without the short slice it waited for what else ran, as the event loop of a daemon that answers
 * a question: 0.3 ms at the 99th percentile of its wakes, 0.1 with it.
 */
export function becomeUrgentThread(): void {
  setThreadNice(-15);
  setShortestSlice();
}

/**
 * Pins the calling thread to one CPU.
 *
 * @param cpu CPU number, below 1024
 * @returns false when there is no such CPU for this process
 */
export function pinThread(cpu: number): boolean {
  const mask = new Uint8Array(128);
  mask[cpu >> 3] = 1 << (cpu & 7);
  return libc().sched_setaffinity(0, mask.length, mask) === 0;
}

/** Lets another thread that can run on this processor do so first. */
export function yieldProcessor(): void {
  libc().sched_yield();
}
