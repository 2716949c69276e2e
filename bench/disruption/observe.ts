/** Watches a guest after its restore, until it is known what it does undisturbed. */

import type { Qemu } from "../../qemu/qemu.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { type Luggage, samplesOf, waitForText } from "./captured.ts";
import type { Timing } from "./figures.ts";
import { SCRIPT_END, SCRIPT_GO } from "./linux_files.ts";
import type { RestorableGuest } from "./restorable_guest.ts";
import { type Seen, tellsPace, type WorkSample, workSeen } from "./work_lost.ts";

/** Of a script, of which the fastest counts. */
const UNDISTURBED_SCRIPTS = 2;

/** What a guest was seen to do. */
export interface Observed {
  readonly seen: Seen;
  /** When it ran, ms on the clock of `performance.now()`. */
  readonly ranAt: number;
}

/**
 * Watches a guest. To be called before it runs at the destination.
 *
 * @param luggage what it brings from where it ran last
 * @throws {Error} when it finds wrong memory, or is not heard
 */
export async function observe(
  destination: Qemu,
  guest: RestorableGuest,
  luggage: () => Luggage,
  timing: Timing,
): Promise<Observed> {
  const { arrivedAt: ranAt } = await destination.qmp.waitForEvent("RESUME", undefined, {
    deadlineMs: 180_000,
  });
  if (guest.work === undefined) {
    return { ranAt, seen: await observeScript(destination, ranAt, timing) };
  }
  const completed = await completedAt(destination);
  const from = Math.max(ranAt + timing.window, completed) + timing.settle;
  let samples: WorkSample[];
  do {
    const since = destination.serial.lines.items.length;
    await waitForText(destination, "work", () => true, since);
    samples = samplesOf(destination, guest, luggage().text);
  } while (!tellsPace(samples, { from, to: from + timing.undisturbed }));
  const window = { from: ranAt, to: ranAt + timing.window };
  const undisturbed = { from, to: samples.at(-1)!.at };
  return { ranAt, seen: workSeen(samples, window, undisturbed, luggage().work) };
}

/** Waits until all memory is there, and returns since when. */
async function completedAt(destination: Qemu): Promise<number> {
  await waitForMigration(destination, ["completed"], { since: 0, deadlineMs: 180_000 });
  const completed = (data: Readonly<Record<string, unknown>>) => data["status"] === "completed";
  return (await destination.qmp.waitForEvent("MIGRATION", completed)).arrivedAt;
}

/** Has a guest run its script at once, and again when nothing disturbs it. */
async function observeScript(
  destination: Qemu,
  ranAt: number,
  { settle }: Timing,
): Promise<Seen> {
  const run = async (): Promise<number> => {
    const since = destination.serial.lines.items.length;
    await destination.type(`${SCRIPT_GO}\n`);
    return await waitForText(destination, "a script", (line) => line === SCRIPT_END, since);
  };
  const took = await run() - ranAt;
  await completedAt(destination);
  let undisturbed = Infinity;
  for (let i = 0; i < UNDISTURBED_SCRIPTS; i++) {
    await new Promise((resolve) => setTimeout(resolve, settle));
    const begin = performance.now();
    undisturbed = Math.min(undisturbed, await run() - begin);
  }
  return { took, undisturbed };
}
