/** A live migration of a workload guest between two processes of ours. */

import type { WorkloadEvent } from "../../client/command/workload_report.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { LiveWorkloadEvent } from "../../server/command/workload_report.ts";
import { type End, placementPrefix } from "../support/cpu_placement.ts";
import { warmPages } from "../support/warm_memory.ts";
import { JsonCommand } from "./json_command.ts";
import type { Move, MoveFigures } from "./move.ts";

const SOURCE = new URL("../../server/main.ts", import.meta.url);
const DESTINATION = new URL("../../client/main.ts", import.meta.url);

/** Seconds that the guest runs before it moves: time to warm the memory for the destination. */
const WARM_UP = 2.5;
/** Exit code of a command that was interrupted. */
const INTERRUPTED = 130;

function prefix({ link, placement }: Move, end: End): string[] {
  return [...link[end].prefix, ...placementPrefix(placement, end)];
}

/** Waits for the source's result, or interrupts it at the limit; returns whether it came to its end. */
async function finish(
  source: JsonCommand<LiveWorkloadEvent>,
  { postcopy, limit }: Move,
): Promise<boolean> {
  const done = source.waitFor("result").then(() => true);
  if (postcopy !== "never") return await done;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), limit);
  });
  try {
    if (await Promise.race([done, late])) return true;
    source.interrupt();
    await done;
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Starts a source with a workload guest, lets it write, and moves it to a destination, which checks
 * every byte at the end.
 *
 * @throws {Error} when either end fails, or a byte is wrong
 */
export async function moveByUs(move: Move): Promise<MoveFigures> {
  // A rate of 0 is no limit: a guest at rest does one access a second.
  const rate = Math.max(1, Math.round(move.rate / move.writers));
  const guest = ["--threads", `${move.writers}`, "--rate", `${rate}`];
  const host = move.link.destination.host;
  await using destination = new JsonCommand<WorkloadEvent>(
    DESTINATION,
    ["workload", "--listen", `tcp:${host}:0`, "--write", ...guest],
    prefix(move, "destination"),
  );
  const { address } = await destination.waitFor("listening");
  await using source = new JsonCommand<LiveWorkloadEvent>(
    SOURCE,
    [
      ...["workload", "--to", address, "--size", `${move.size}`, ...guest, "--zero-every", "0"],
      ...["--warm-up", `${move.warmUp ?? WARM_UP}`, "--postcopy", `${move.postcopy}`],
    ],
    prefix(move, "source"),
  );
  await source.waitFor("started");
  const started = monotonicNanoseconds();
  warmPages(move.size);
  await source.waitFor("progress"); // the migration has begun
  const sourceBefore = await source.cpu();
  const destinationBefore = await destination.cpu();
  const completed = await finish(source, move);
  const ended = monotonicNanoseconds();
  const sourceCpu = await source.cpu() - sourceBefore;
  const destinationCpu = await destination.cpu() - destinationBefore;
  const { statistics, workload, stoppedAt = ended } = await source.waitFor("result");
  await source.ended(completed ? 0 : INTERRUPTED).catch(async (cause) => {
    // Who failed first knows why.
    await destination.ended();
    throw cause;
  });
  const figures: MoveFigures = {
    completed,
    total: statistics["total-time"],
    setup: statistics["setup-time"],
    downtime: undefined,
    reported: undefined,
    transferred: statistics.ram.transferred,
    rounds: statistics.ram["dirty-sync-count"],
    sourceRate: perSecond(workload.accesses, started, stoppedAt),
    destinationRate: undefined,
    waits: undefined,
    sourceCpu,
    destinationCpu,
  };
  if (!completed) return figures;
  const here = await destination.waitFor("result");
  await destination.ended();
  const { waits: count, meanWait } = here.workload;
  return {
    ...figures,
    downtime: (here.startedAt - stoppedAt) / 1e6,
    reported: statistics.downtime,
    destinationRate: move.postcopy === "never"
      ? undefined
      : perSecond(here.workload.accesses, here.startedAt, ended),
    waits: count === 0 ? undefined : { count, mean: meanWait, p99: here.percentiles.p99 },
  };
}

/** Writes a second between two times in ns. */
function perSecond(count: number, from: number, to: number): number {
  return count / (to - from) * 1e9;
}
