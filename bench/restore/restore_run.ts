/** One restore of a QEMU guest in a QEMU destination, by QEMU itself or by `serve`. */

import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import {
  type CapturedGuest,
  captureGuest,
  type GuestMachine,
  startGuest,
  waitForRound,
} from "../../qemu/guest.ts";
import { faultLatency, liveMigrate } from "../../qemu/live_migrate.ts";
import { listenForPostcopy, queryMigrate, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { memoryOf } from "../sessions/process_cost.ts";
import { atExit } from "../support/at_exit.ts";
import { runServe } from "../support/serve.ts";
import { guestSeenLatency } from "./guest_latency.ts";

/** How a restore went, as its destination saw it. Times in ms since it heard the source. */
export interface RestoreFigures {
  /** Until the guest's processor ran. */
  readonly running: number;
  /** Until the guest's first output. */
  readonly firstOutput: number;
  /** Until all memory was there. */
  readonly total: number;
  /** Mean fault latency by QEMU's own statistic, ns; undefined before QEMU 10.1. */
  readonly latency: number | undefined;
  /** Faults by power-of-two bucket of microseconds; undefined before QEMU 10.1. */
  readonly buckets: readonly number[] | undefined;
  /** Mean latency of the touches that waited, as the guest timed them, ns. */
  readonly guestLatency: number | undefined;
  /** How many those were. */
  readonly guestWaits: number | undefined;
  /** Memory of the destination's process when all was there, bytes: what was never in the guest costs nothing. */
  readonly resident: number;
  /** What `serve` reported, when it was the source. */
  readonly source?: SourceStatistics;
}

/** Rounds of the guest before it moves: from the first on, all of its working set holds data. */
const ROUNDS_BEFORE = 2;
/** Rounds of the guest afterwards, in which it checks all of its working set, and times its touches. */
const ROUNDS_AFTER = 3;

/** The guest found a page that does not hold what it wrote there. */
export class WrongMemoryError extends Error {
  override readonly name = "WrongMemoryError";

  /** @param line what the guest printed */
  constructor(line: string) {
    super(`Guest found wrong memory: ${line}`);
  }
}

/** Reads the figures from the destination's events, in the same way whatever the source. */
async function figures(destination: Qemu, round: number): Promise<RestoreFigures> {
  const arrival = async (name: string, status?: string): Promise<number> => {
    const matches = (data: Readonly<Record<string, unknown>>) =>
      status === undefined || data["status"] === status;
    return (await destination.qmp.waitForEvent(name, matches)).arrivedAt;
  };
  await waitForMigration(destination, ["completed"], { since: 0 });
  const { rss: resident } = await memoryOf(destination.pid);
  const heard = await arrival("MIGRATION", "active");
  const info = await queryMigrate(destination);
  const latency = faultLatency(info);
  await waitForRound(destination, round);
  const { text, lines } = destination.serial;
  const wrong = /BAD[^\r\n]*/.exec(text);
  if (wrong !== null) throw new WrongMemoryError(wrong[0]);
  const seen = guestSeenLatency(lines.items);
  return {
    running: await arrival("RESUME") - heard,
    firstOutput: await destination.serial.firstOutput() - heard,
    total: await arrival("MIGRATION", "completed") - heard,
    latency: latency?.mean,
    buckets: latency?.buckets,
    guestLatency: seen?.mean,
    guestWaits: seen?.slow,
    resident,
  };
}

/** Starts a guest that does not outlive this process. */
async function start(machine: GuestMachine): Promise<Qemu> {
  const qemu = await startGuest(machine);
  const forget = atExit(() => Deno.kill(qemu.pid, "SIGKILL"));
  qemu.exited.finally(forget);
  return qemu;
}

/**
 * Captures the guest that {@linkcode restoreByServe} restores.
 *
 * @param path the file to write
 */
export function captureForRestore(path: string, machine: GuestMachine): Promise<CapturedGuest> {
  return captureGuest(path, machine, { rounds: ROUNDS_BEFORE });
}

/** Restores by live postcopy from a second QEMU in which the same guest runs. */
export async function restoreByQemu(machine: GuestMachine): Promise<RestoreFigures> {
  await using source = await start(machine);
  await using destination = await start({ ...machine, incoming: true });
  await waitForRound(source, ROUNDS_BEFORE);
  await liveMigrate(source, destination);
  return await figures(destination, ROUNDS_BEFORE + ROUNDS_AFTER);
}

/** Restores a captured guest by `serve`. */
export async function restoreByServe(
  guest: CapturedGuest,
  mode: "preempt-full" | "preempt",
): Promise<RestoreFigures> {
  await using destination = await start({ ...guest.machine, incoming: true });
  const port = await listenForPostcopy(destination);
  const to = `tcp:127.0.0.1:${port}`;
  const { source } = await runServe({ image: guest.path, to, mode, maxBandwidth: 0 });
  return { ...await figures(destination, guest.rounds + ROUNDS_AFTER), source };
}
