/** Where the processes of a benchmark run. */

/**
 * - `scheduler`: the kernel chooses. On an otherwise idle machine a hand-over to the other core wakes
 *   a halted one, which in a virtual machine can cost 70 us; the kernel may also keep both ends on
 *   one core, so that figures come in two kinds.
 * - `one-cpu`: both ends are pinned on CPU 0, where a hand-over is a mere context switch.
 * - `two-cpus`: the source is pinned on CPU 0 and the destination on CPU 1, as two hosts would be.
 */
export type CpuPlacement = "scheduler" | "one-cpu" | "two-cpus";

/** All placements. */
export const CPU_PLACEMENTS: readonly CpuPlacement[] = ["scheduler", "one-cpu", "two-cpus"];

/** Which end of a link a process stands for. */
export type End = "source" | "destination";

/**
 * Returns the words to put before a command so that it, with all of its threads, runs so.
 * `taskset` is in util-linux, which every Debian has.
 */
export function placementPrefix(placement: CpuPlacement, end: End): string[] {
  if (placement === "scheduler") return [];
  const cpu = placement === "two-cpus" && end === "destination" ? "1" : "0";
  return ["taskset", "-c", cpu];
}

/** Says a placement in words, for a table. */
export function describePlacement(placement: CpuPlacement): string {
  switch (placement) {
    case "scheduler":
      return "scheduler's choice";
    case "one-cpu":
      return "both ends on CPU 0";
    case "two-cpus":
      return "source on CPU 0, destination on CPU 1";
  }
}
