/** Where the ends of a restore run, the processor of the guest among them. */

import type { Qemu } from "../../qemu/qemu.ts";
import { type End, placementPrefix } from "../support/cpu_placement.ts";

/**
 * - `two-cpus`: the source on CPU 0, the destination with its guest on CPU 1, as two hosts would be.
 * - `vcpu-alone`: the guest's processor on CPU 1, all else on CPU 0: what a host with processors to
 *   spare gives a guest.
 * - `scheduler`: the kernel chooses.
 */
export const PLACEMENTS = ["two-cpus", "vcpu-alone", "scheduler"] as const;

/** One of {@linkcode PLACEMENTS}. */
export type Placement = typeof PLACEMENTS[number];

/** The CPU of a guest that has one for itself. */
export const GUEST_CPU = 1;

/** Says a placement in words, for a table. */
export const PLACEMENT_TITLES: Readonly<Record<Placement, string>> = {
  "two-cpus": "a CPU each",
  "vcpu-alone": "vCPU alone",
  scheduler: "unpinned",
};

/** Returns the words to put before a command so that it runs so, but for a guest's processor. */
export function prefixOf(placement: Placement, end: End): string[] {
  return placementPrefix(placement === "vcpu-alone" ? "one-cpu" : placement, end);
}

/**
 * Returns the thread that is a guest's only processor.
 *
 * @throws {Error} when it has several
 */
export async function vcpuThread(qemu: Qemu): Promise<number> {
  const processors = await qemu.execute<{ "thread-id": number }[]>("query-cpus-fast");
  if (processors.length !== 1) {
    throw new Error(`Guest should have one processor, and has: ${processors.length}`);
  }
  return processors[0]!["thread-id"];
}

/** Puts a guest's processor where it belongs. */
export async function placeVcpu(thread: number, placement: Placement): Promise<void> {
  if (placement === "vcpu-alone") await taskset(["-c", "-p", `${GUEST_CPU}`, `${thread}`]);
}

/**
 * Keeps this process, which reads what guests print, out of the way of a guest's processor; given back
 * with the result.
 */
export async function keepOffGuestCpu(placement: Placement): Promise<AsyncDisposable> {
  if (placement !== "vcpu-alone") return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const status = await Deno.readTextFile("/proc/self/status");
  const all = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)![1]!;
  const place = (cpus: string) => taskset(["-a", "-c", "-p", cpus, `${Deno.pid}`]);
  await place("0");
  return { [Symbol.asyncDispose]: () => place(all) };
}

async function taskset(args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("taskset", {
    args: [...args],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  throw new Error(`taskset ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}
