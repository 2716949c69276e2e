/** `workload --to ADDRESS`: a guest that runs here and is migrated live. */

import { printLine, warnLine } from "../../migration/command/output.ts";
import {
  bytesArgument,
  choiceArgument,
  countArgument,
  countsArgument,
  type Options,
  parseOptions,
  UsageError,
  waitArgument,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onHeldInterrupt } from "../../migration/command/interrupt.ts";
import { onPostcopySignal } from "../../migration/command/postcopy_signal.ts";
import { newReporter, type Reporter } from "../../migration/command/reporter.ts";
import type { ProgressLine } from "../../migration/report/progress_line.ts";
import { liveBlockSizes } from "../../workload/blocks.ts";
import { LiveWorkload, type LiveWorkloadOptions } from "../../workload/live_workload.ts";
import { ACCESS_PATTERNS, COMPRESSIBLE } from "../../workload/options.ts";
import { compressionNote } from "./compress_arguments.ts";
import { ExitCode, exitCodeOf } from "./command_line.ts";
import { LIVE_OPTIONS, liveArguments } from "./live_arguments.ts";
import { liveProgressText } from "./live_report.ts";
import { heldText, statusLines } from "./serve_report.ts";
import { LiveRegion } from "../live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../live/live_source.ts";
import type { SourceStatus } from "../outgoing/statistics.ts";
import {
  isUnharmed,
  type LiveWorkloadEvent,
  type LiveWorkloadResult,
  resultLines,
  startedText,
} from "./workload_report.ts";

/** Host pages by their name on the command line. */
const PAGE_SIZES = { "4K": 4096, "2M": 2 ** 21, "1G": 2 ** 30 } as const;
/** Milliseconds for which a guest that was not moved goes on before it is checked. */
const GOES_ON = 100;

const OPTIONS = {
  ...LIVE_OPTIONS,
  "warm-up": {
    value: "SECONDS",
    help: "let the guest run so long before it is moved; default 1",
  },
  size: { value: "BYTES", help: "of its memory (suffix K, M or G); default 512M" },
  "page-size": { value: "SIZE", help: "of the host: 4K (default), or 2M or 1G of hugetlbfs" },
  threads: { value: "N", help: "the guest's threads; default 8" },
  pattern: {
    value: "ORDER",
    help: "of their accesses: random (default), sequential, or once: each page once",
  },
  rate: { value: "N", help: "accesses of a thread in a second; default 0: no limit" },
  cpus: { value: "A,B,...", help: "pin the threads to these CPUs in turn" },
  seed: { value: "N", help: "what its content is made from; default 1" },
  "zero-every": { value: "N", help: "one page in N is zero at first; 0 for none; default 4" },
  compressible: {
    value: "N",
    help:
      "its other pages compress to about one N-th: 1 (default, not at all), 2, 4, 8, 16, 32 or 64",
  },
  json: { help: "print JSON objects, one a line: started, progress, result" },
} as const satisfies Options;

/** The command `workload` of the source side. */
export const WORKLOAD: Command = {
  synopsis: "--to ADDRESS [options]",
  about: [
    "Runs a guest here, threads that write to all of its memory and know what it must hold, and moves " +
    "it while it runs to workload --listen of the destination side.",
    "Ctrl-C cancels: the guest goes on here, and every byte of it is checked. Once it is handed over, " +
    "SIGTERM and SIGHUP are answered with what it lacks, and so is the first Ctrl-C; the second abandons it.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "the guest runs at the destination",
    [ExitCode.FAILED]: "the migration failed, or a byte is wrong here",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.UNREACHABLE]: "the destination cannot be reached",
    [ExitCode.INTERRUPTED]: "cancelled",
  },
  run: workloadCommand,
  exitCodeOf,
};

interface WorkloadArguments {
  readonly size: number;
  readonly pageSize: number;
  /** Milliseconds for which the guest runs before it is migrated. */
  readonly warmUp: number;
  readonly json: boolean;
  readonly workload: LiveWorkloadOptions;
  readonly migration: LiveSourceOptions;
}

/**
 * Runs a workload guest and migrates it while it runs. One that is not moved goes on here, and every
 * byte of it is checked.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {MigrationError} when the migration failed
 */
export async function workloadCommand(args: readonly string[]): Promise<number> {
  const settings = readArguments(args);
  const reporter = newReporter(settings.json, tell);
  try {
    return await run(settings, reporter);
  } finally {
    reporter.end();
  }
}

async function run(
  settings: WorkloadArguments,
  reporter: Reporter<LiveWorkloadEvent>,
): Promise<number> {
  const note = compressionNote(settings.migration.compress);
  if (note !== undefined) reporter.note(note);
  using region = withUsage(() => newRegion(settings));
  await using guest = withUsage(() => new LiveWorkload(region.blocks, settings.workload));
  let before: SourceStatus = "setup";
  const migration = {
    ...settings.migration,
    onNote: (text: string) => reporter.note(text),
    onStatus: (status: SourceStatus, reason?: Error) => {
      const { to } = settings.migration;
      const lines = statusLines(status, before, reason, source.statistics(), to, false);
      if (lines.length > 0) reporter.note(lines.join("\n"));
      before = status;
    },
  };
  await using source: LiveSource = withUsage(() => new LiveSource(region, guest, migration));
  const cancelled = Promise.withResolvers<void>();
  let cancels = false;
  let abandoned = false;
  using _interrupt = onHeldInterrupt({
    isHeld: () => !(cancels ||= source.cancel()),
    hold: (signal) => reporter.note(heldText(signal, source.statistics(), "abandons it there")),
    end: (held) => {
      if (!held) return cancelled.resolve();
      abandoned = true;
      source.close();
    },
  });
  using _postcopy = onPostcopySignal(() => {
    try {
      source.startPostcopy();
    } catch (error) {
      reporter.note((error as Error).message);
    }
  });

  await guest.start();
  reporter.event({
    event: "started",
    pages: guest.statistics().pages,
    fillTime: guest.fillTime,
  });
  await delay(settings.warmUp, cancelled.promise);
  let failure: unknown;
  try {
    await migrate(source, reporter);
  } catch (error) {
    failure = error;
  }
  const result = await outcome(source, guest, failure);
  reporter.event({ event: "result", ...result });
  if (!isUnharmed(result)) return ExitCode.FAILED;
  if (failure !== undefined && !cancels && !abandoned) throw failure;
  if (failure === undefined) return ExitCode.DONE;
  reporter.note((failure as Error).message);
  return ExitCode.INTERRUPTED;
}

/** Migrates, and tells how far it is until the end. */
async function migrate(source: LiveSource, reporter: Reporter<LiveWorkloadEvent>): Promise<void> {
  const done = source.run();
  done.catch(() => {}); // awaited at the end of the progress
  for await (const statistics of source) reporter.event({ event: "progress", ...statistics });
  await done;
}

/** Ends the guest, and checks it if it is the one that went on. */
async function outcome(
  source: LiveSource,
  guest: LiveWorkload,
  failure: unknown,
): Promise<LiveWorkloadResult> {
  const goesOn = guest.running;
  if (goesOn) await delay(GOES_ON, guest.ended);
  await guest.halt();
  const { stoppedAt } = source;
  return {
    statistics: source.statistics(),
    workload: guest.statistics(),
    ...stoppedAt === undefined ? {} : { stoppedAt },
    ...failure === undefined
      ? {}
      : { "error-desc": failure instanceof Error ? failure.message : String(failure) },
    ...goesOn ? { check: await guest.check() } : {},
  };
}

function tell(event: LiveWorkloadEvent, line: ProgressLine): void {
  switch (event.event) {
    case "started":
      return warnLine(startedText(event));
    case "progress":
      return line.update(liveProgressText(event));
    case "result":
      line.clear();
      for (const text of resultLines(event)) printLine(text);
      return;
  }
}

/** Waits for a time, or less when `until` settles. */
async function delay(milliseconds: number, until: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  await Promise.race([promise, until.catch(() => {})]);
  clearTimeout(timer);
}

function newRegion({ size, pageSize }: WorkloadArguments): LiveRegion {
  return new LiveRegion({
    blocks: liveBlockSizes(size, pageSize),
    machine: "postcopy-workload",
    pageSize,
  });
}

/** Makes something from what the user said: what is out of its range is wrong usage. */
function withUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

function readArguments(args: readonly string[]): WorkloadArguments {
  const values = parseOptions(args, OPTIONS);
  const names = Object.keys(PAGE_SIZES) as (keyof typeof PAGE_SIZES)[];
  return {
    size: bytesArgument("size", values.size ?? "512M"),
    pageSize: PAGE_SIZES[choiceArgument("page-size", values["page-size"] ?? "4K", names)],
    warmUp: waitArgument("warm-up", values["warm-up"] ?? "1"),
    json: values.json ?? false,
    workload: {
      threads: countArgument("threads", values.threads ?? "8"),
      pattern: choiceArgument("pattern", values.pattern ?? "random", ACCESS_PATTERNS),
      rate: countArgument("rate", values.rate ?? "0"),
      cpus: countsArgument("cpus", values.cpus),
      seed: countArgument("seed", values.seed ?? "1"),
      zeroEvery: countArgument("zero-every", values["zero-every"] ?? "4"),
      repeats: Number(choiceArgument("compressible", values.compressible ?? "1", COMPRESSIBLE)),
      samples: 0, // how long an access waits matters at the destination alone
    },
    migration: liveArguments(values),
  };
}
