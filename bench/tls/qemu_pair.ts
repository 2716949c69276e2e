/** A QEMU at the destination, and at the source another QEMU or `serve`. */

import { capture } from "../../qemu/capture.ts";
import { listenForPostcopy, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import type { Move, Waits } from "../migrate/move.ts";
import { moveByQemu, reports, startWriter, waitForReport, waits } from "../migrate/qemu_move.ts";
import type { CpuPlacement } from "../support/cpu_placement.ts";
import { placementPrefix } from "../support/cpu_placement.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { LOOPBACK } from "../support/link.ts";
import { runServe } from "../support/serve.ts";
import { warmHugePages } from "../support/warm_huge_pages.ts";
import type { RunCredentials } from "./credentials.ts";
import type { MoveFigures, StreamFigures } from "./figures.ts";
import type { Kind } from "./kind.ts";
import { besideSize, type StartCost } from "./our_pair.ts";

/** Pages that the guest writes a second when it is to wait for them. */
const RATE = 8000;
/** Reports of a restored guest by which its time-stamp counter is timed. */
const REPORTS_AFTER = 5;
const MILLISECONDS = 1000;
/** ms; asked for by a Move, and of no use to one that switches at once. */
const LIMIT = 120_000;

/** What pairs with a QEMU are run with. */
export interface QemuPlan {
  readonly binary: QemuBinary;
  /** Of the stream; a guest that waits for pages does so with both ends on one CPU. */
  readonly placement: CpuPlacement;
  /** Bytes of the guest. */
  readonly size: number;
  readonly credentials: RunCredentials;
}

/** A guest that rests. */
function resting({ placement, size }: QemuPlan): Move {
  return {
    link: LOOPBACK,
    placement,
    size,
    rate: 0,
    writers: 1,
    postcopy: "now",
    limit: LIMIT,
  };
}

/** One that writes to random pages. */
function writing(plan: QemuPlan): Move {
  return { ...resting(plan), placement: "one-cpu", size: besideSize(plan.size), rate: RATE };
}

/** Measures the stream of a QEMU to another, and what the guest waits for pages beside it. */
export async function measureQemu(plan: QemuPlan, kind: Kind): Promise<MoveFigures> {
  const { binary, credentials, size } = plan;
  const give = (qemu: Qemu, end: "source" | "destination") => credentials.give(kind, qemu, end);
  const rest = await moveByQemu(resting(plan), binary, give);
  const busy = await moveByQemu(writing(plan), binary, give);
  const gigabytes = size / 1e9;
  return {
    stream: {
      rate: size / (rest.total - rest.setup) * MILLISECONDS,
      setup: rest.setup,
      sourceCpu: rest.sourceCpu / gigabytes,
      destinationCpu: rest.destinationCpu / gigabytes,
    },
    beside: busy.waits,
  };
}

/** Files of guests that were saved while they rested and while they wrote. */
export interface SavedGuests {
  readonly resting: string;
  readonly writing: string;
}

/** Saves the guests that {@linkcode measureServeToQemu} restores into a directory. */
export async function saveGuests(plan: QemuPlan, directory: string): Promise<SavedGuests> {
  const saved = { resting: `${directory}/resting`, writing: `${directory}/writing` };
  await save(resting(plan), plan.binary, saved.resting);
  await save(writing(plan), plan.binary, saved.writing);
  return saved;
}

async function save(move: Move, binary: QemuBinary, path: string): Promise<void> {
  await using qemu = await startWriter(move, "source", { binary });
  await waitForReport(qemu, () => true); // its memory is filled
  await capture(qemu, path);
}

/** How a guest came into a QEMU. */
interface Restored {
  readonly stream: StreamFigures;
  readonly waits: Waits | undefined;
}

/** Measures the stream of `serve` to a QEMU, and what the guest waits for pages beside it. */
export async function measureServeToQemu(
  plan: QemuPlan,
  guests: SavedGuests,
  kind: Kind,
  start: StartCost,
): Promise<MoveFigures> {
  const { stream } = await restore(plan, resting(plan), guests.resting, kind, start);
  const { waits: beside } = await restore(plan, writing(plan), guests.writing, kind, start);
  return { stream, beside };
}

async function restore(
  { binary, credentials }: QemuPlan,
  move: Move,
  image: string,
  kind: Kind,
  start: StartCost,
): Promise<Restored> {
  await using qemu = await startWriter(move, "destination", { binary, incoming: true });
  await credentials.give(kind, qemu, "destination");
  warmHugePages(move.size);
  const since = qemu.qmp.events.items.length;
  const port = await listenForPostcopy(qemu);
  const before = await cpuSeconds(qemu.pid);
  const { source, sourceCpu } = await runServe({
    image,
    to: `tcp:${LOOPBACK.destination.host}:${port}`,
    mode: "preempt-full",
    maxBandwidth: 0,
    tls: credentials.path(kind),
    prefix: placementPrefix(move.placement, "source"),
  });
  await waitForMigration(qemu, ["completed"], { since });
  const end = performance.now();
  const destinationCpu = await cpuSeconds(qemu.pid) - before;
  const gigabytes = move.size / 1e9;
  const stream: StreamFigures = {
    rate: move.size / (source["total-time"] - source["setup-time"]) * MILLISECONDS,
    setup: source["setup-time"],
    sourceCpu: Math.max(0, sourceCpu - start.source) / gigabytes,
    destinationCpu: destinationCpu / gigabytes,
  };
  if (move.rate === 0) return { stream, waits: undefined };
  return { stream, waits: await waitsUntil(qemu, end) };
}

/** What the guest waited until its pages were there, by its own time-stamp counter. */
async function waitsUntil(qemu: Qemu, end: number): Promise<Waits | undefined> {
  const after = () => reports(qemu).filter(({ arrivedAt }) => arrivedAt >= end);
  await waitForReport(qemu, () => after().length >= REPORTS_AFTER);
  const quiet = after();
  const [first, last] = [quiet[0]!, quiet.at(-1)!];
  const hertz = (last.tsc - first.tsc) / (last.arrivedAt - first.arrivedAt) * MILLISECONDS;
  // Until the first report after the last page came.
  return waits([...reports(qemu).filter(({ arrivedAt }) => arrivedAt < end), first], hertz);
}
