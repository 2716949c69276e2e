/** A live migration from QEMU to QEMU of a guest that writes at a given rate. */

import {
  listenForMigration,
  type MigrationInfo,
  queryMigrate,
  setCapabilities,
  setParameters,
  UNLIMITED_BANDWIDTH,
  waitForMigration,
} from "../../qemu/migration.ts";
import { Qemu, type QemuOptions } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import {
  buildWriterSector,
  parseWriterLine,
  slowWrites,
  writerMemoryMiB,
  type WriterReport,
} from "../../qemu/writer_guest.ts";
import { atExit } from "../support/at_exit.ts";
import { type End, placementPrefix } from "../support/cpu_placement.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { warmHugePages } from "../support/warm_huge_pages.ts";
import { finalInfo } from "../support/final_info.ts";
import type { Move, MoveFigures, Waits } from "./move.ts";

/** ms; QEMU's default, set because the comparison rests on it. */
const DOWNTIME_LIMIT = 300;
/** Between two reports of the guest. */
const REPORT_MS = 100;
/** Reports of the guest before it moves. */
const REPORTS_BEFORE = 6;
/** A migration that takes longer stands still. */
const DEADLINE_MS = 60_000;

/** A report of the guest, and when it came, ms. */
interface TimedReport extends WriterReport {
  readonly arrivedAt: number;
}

/** Starts one end; it does not outlive this process. */
export async function startWriter(move: Move, end: End, options: QemuOptions): Promise<Qemu> {
  const guest = { workingSet: move.size, rate: move.rate };
  const qemu = await Qemu.start({
    ...options,
    bootSector: buildWriterSector(guest),
    memoryMiB: writerMemoryMiB(guest),
    prefix: [...move.link[end].prefix, ...placementPrefix(move.placement, end)],
  });
  const forget = atExit(() => Deno.kill(qemu.pid, "SIGKILL"));
  qemu.exited.finally(forget);
  return qemu;
}

/** What a guest has told so far. */
export function reports(qemu: Qemu): TimedReport[] {
  return qemu.serial.lines.items.flatMap(({ text, arrivedAt }) => {
    const report = parseWriterLine(text);
    return report === undefined ? [] : [{ ...report, arrivedAt }];
  });
}

/** Waits for a report, also for one that has come already. */
export async function waitForReport(
  qemu: Qemu,
  matches: (report: TimedReport) => boolean,
): Promise<void> {
  while (!reports(qemu).some(matches)) {
    const since = qemu.serial.lines.items.length;
    await qemu.serial.waitForLine("a report", () => true, { since, deadlineMs: DEADLINE_MS });
  }
}

/** Switches to postcopy when it is time; never when the guest has gone over before. */
async function switchWhenDue(source: Qemu, { postcopy }: Move, since: number): Promise<void> {
  if (postcopy === "never") return;
  if (postcopy !== "now") {
    // The first pass event is of the first round's begin.
    const begun = (data: Readonly<Record<string, unknown>>): boolean =>
      data["pass"] as number > postcopy;
    const options = { since, deadlineMs: DEADLINE_MS };
    await Promise.race([
      source.qmp.waitForEvent("MIGRATION_PASS", begun, options),
      waitForMigration(source, ["completed"], options),
    ]);
  }
  await source.execute("migrate-start-postcopy").catch((error) => {
    if (postcopy === "now") throw error; // a later one may be over already
  });
}

/** Waits for the end, or for the limit; returns the source's statistics. */
async function finish(
  source: Qemu,
  move: Move,
  since: number,
): Promise<{ info: MigrationInfo; completed: boolean }> {
  const done = waitForMigration(source, ["completed"], { since, deadlineMs: DEADLINE_MS })
    .then(() => true);
  done.catch(() => {}); // it fails when it is cancelled
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), move.limit);
  });
  const completed = await Promise.race([done, late]);
  clearTimeout(timer);
  if (completed || move.postcopy !== "never") {
    await done;
    return { info: await finalInfo(source), completed: true };
  }
  return { info: await queryMigrate(source), completed: false };
}

/** Writes in some reports. */
function writes(reports: readonly TimedReport[]): number {
  return reports.reduce((sum, report) => sum + report.writes, 0);
}

/** What the guest waited for its pages, by its own time-stamp counter. */
export function waits(reports: readonly TimedReport[], hertz: number): Waits | undefined {
  const slow = slowWrites(reports);
  if (slow === undefined) return undefined;
  const ns = 1e9 / hertz;
  return { count: slow.count, mean: slow.mean * ns, p99: slow.p99 * ns };
}

/**
 * Starts two QEMUs, lets the guest of one write, and moves it to the other.
 *
 * @param prepare done with each before it is set up for the migration
 * @throws {Error} when either QEMU fails
 */
export async function moveByQemu(
  move: Move,
  binary: QemuBinary,
  prepare: (qemu: Qemu, end: End) => Promise<void> = async () => {},
): Promise<MoveFigures> {
  await using destination = await startWriter(move, "destination", { binary, incoming: true });
  await using source = await startWriter(move, "source", { binary });
  await prepare(destination, "destination");
  await prepare(source, "source");
  await waitForReport(source, () => true); // its memory is filled
  warmHugePages(move.size);
  // Reports that came while this thread was busy are all read now, with the wrong time.
  const settled = performance.now() + REPORT_MS / 2;
  const later = (): TimedReport[] =>
    reports(source).filter(({ arrivedAt }) => arrivedAt >= settled);
  await waitForReport(source, () => later().length > REPORTS_BEFORE);
  const postcopy = move.postcopy !== "never";
  for (const qemu of [source, destination]) {
    await setCapabilities(qemu, { "postcopy-ram": postcopy, "postcopy-preempt": postcopy });
  }
  await setParameters(source, {
    "max-bandwidth": UNLIMITED_BANDWIDTH,
    "max-postcopy-bandwidth": 0,
    "downtime-limit": DOWNTIME_LIMIT,
  });
  const { host } = move.link.destination;
  const port = await listenForMigration(destination, host);
  const since = source.qmp.events.items.length;
  const sinceDestination = destination.qmp.events.items.length;
  const cpu = [await cpuSeconds(source.pid), await cpuSeconds(destination.pid)] as const;
  const begin = performance.now();
  await source.execute("migrate", { uri: `tcp:${host}:${port}` });
  const switched = switchWhenDue(source, move, since);
  const { info, completed } = await finish(source, move, since);
  await switched;
  const end = performance.now();
  const sourceCpu = await cpuSeconds(source.pid) - cpu[0];
  const destinationCpu = await cpuSeconds(destination.pid) - cpu[1];
  if (!completed) {
    await source.execute("migrate_cancel"); // the destination then ends by itself
    await waitForMigration(source, ["cancelled"], { since });
  }
  const there = later();
  const [first, last] = [there[0]!, there.at(-1)!];
  const figures: MoveFigures = {
    completed,
    total: info["total-time"] ?? end - begin,
    setup: info["setup-time"] ?? 0,
    downtime: undefined,
    reported: undefined,
    transferred: info.ram?.["transferred"] ?? 0,
    rounds: info.ram?.["dirty-sync-count"] ?? 0,
    sourceRate: writes(there.slice(1)) / (last.arrivedAt - first.arrivedAt) * 1000,
    destinationRate: undefined,
    waits: undefined,
    sourceCpu,
    destinationCpu,
  };
  if (!completed) return figures;
  const stop = await source.qmp.waitForEvent("STOP", undefined, { since });
  const resume = await destination.qmp.waitForEvent("RESUME", undefined, {
    since: sinceDestination,
  });
  // Until the first report after the last page came.
  await waitForReport(destination, (report) => report.arrivedAt >= end);
  const here = reports(destination);
  const arriving = here.slice(0, 1 + here.findIndex(({ arrivedAt }) => arrivedAt >= end));
  // The first report there tells also of the time since the last report at the source.
  const ran = stop.arrivedAt - last.arrivedAt + arriving.at(-1)!.arrivedAt - resume.arrivedAt;
  const hertz = (last.tsc - first.tsc) / (last.arrivedAt - first.arrivedAt) * 1000;
  return {
    ...figures,
    downtime: resume.timestamp - stop.timestamp,
    reported: info.downtime,
    ...move.postcopy === "never" ? {} : {
      destinationRate: writes(arriving) / ran * 1000,
      waits: waits(arriving, hertz),
    },
  };
}
