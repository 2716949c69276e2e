/** CPU time of processes and of the whole machine, from /proc. */

/** Clock ticks a second in /proc, fixed at 100 on x86-64 and aarch64 (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Fields of /proc/PID/stat from the state (field 3) on; the name before may hold blanks and brackets. */
function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/**
 * Returns the CPU seconds, user and system, that a running process took, to 10 ms.
 *
 * @throws {Deno.errors.NotFound} when there is no such process
 */
export async function cpuSeconds(pid: number | `${number}/task/${number}`): Promise<number> {
  const fields = statFields(await Deno.readTextFile(`/proc/${pid}/stat`));
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/**
 * Returns the CPU seconds of a running process without those of one of its threads, to 10 ms: of a
 * QEMU without its guest's processor.
 *
 * @throws {Deno.errors.NotFound} when there is no such process or thread
 */
export async function cpuSecondsWithout(pid: number, thread: number): Promise<number> {
  const all = await cpuSeconds(pid);
  return all - await cpuSeconds(`${pid}/task/${thread}`);
}

/**
 * Returns the CPU seconds of this process's children that have ended and were waited for, to 10 ms:
 * the difference around a child's life is what it took, when no other child ends meanwhile.
 */
export async function endedChildrenCpuSeconds(): Promise<number> {
  const fields = statFields(await Deno.readTextFile("/proc/self/stat"));
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

async function machineTicks(): Promise<{ idle: number; all: number }> {
  const line = (await Deno.readTextFile("/proc/stat")).split("\n", 1)[0]!;
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  // user nice system idle iowait irq softirq steal
  return { idle: ticks[3]! + ticks[4]!, all: ticks.reduce((sum, value) => sum + value, 0) };
}

/**
 * Returns the share of this machine's CPU time that nobody used over a while, 0 to 1.
 *
 * @param milliseconds how long to look; ticks are 10 ms, so below 200 the figure is rough
 */
export async function idleShare(milliseconds: number): Promise<number> {
  const before = await machineTicks();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const after = await machineTicks();
  return after.all === before.all ? 1 : (after.idle - before.idle) / (after.all - before.all);
}

/** Whether the machine did something else when a benchmark started. */
export interface Idleness {
  /** Share of CPU time unused, 0 to 1. */
  readonly idle: number;
  /** Seconds waited for it. */
  readonly waited: number;
}

/**
 * Waits until the machine is at least nine tenths idle, so that figures are of the benchmark alone.
 *
 * @param seconds the longest wait; after it the benchmark runs anyway and says so
 */
export async function waitForIdleMachine(seconds: number): Promise<Idleness> {
  const start = performance.now();
  while (true) {
    const idle = await idleShare(300);
    const waited = (performance.now() - start) / 1000;
    if (idle >= 0.9 || waited >= seconds) return { idle, waited };
  }
}
