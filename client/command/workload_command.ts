/** `workload --listen ADDRESS`: a destination with the workload guest. */

import { printLine, warnLine } from "../../migration/command/output.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { Backing } from "../../ffi/memory.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import {
  choiceArgument,
  countArgument,
  countsArgument,
  type Options,
  parseOptions,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { Interrupted, onInterrupt } from "../../migration/command/interrupt.ts";
import {
  APPROVAL_OPTIONS,
  switchoverAckArguments,
} from "../../migration/command/switchover_ack_options.ts";
import type { SwitchoverAckOptions } from "../../migration/protocol/switchover_ack.ts";
import { newReporter, type Reporter } from "../../migration/command/reporter.ts";
import type { ProgressLine } from "../../migration/report/progress_line.ts";
import {
  DECOMPRESS_OPTION,
  decompressThreadsArgument,
  ExitCode,
  exitCodeOf,
  LISTEN_OPTION,
  listenArgument,
  MULTIFD_OPTION,
  multifdArgument,
} from "./command_line.ts";
import { ACCESS_OPTIONS, accessArguments, warnOfClear } from "./access_options.ts";
import type { AccessOptions } from "../connecting/access.ts";
import { Destination } from "../destination.ts";
import { ACCESS_PATTERNS, type WorkloadOptions } from "../../workload/options.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { ConnectionNews, connectionText } from "./connection_news.ts";
import {
  isRight,
  progressText,
  resultLines,
  waitPercentiles,
  type WorkloadEvent,
  type WorkloadProgress,
  type WorkloadResult,
} from "./workload_report.ts";

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 100;
const BACKINGS: readonly Backing[] = ["anonymous", "memfd"];

const OPTIONS = {
  ...LISTEN_OPTION,
  threads: { value: "N", help: "the guest's threads; default 2" },
  pattern: {
    value: "ORDER",
    help: "of their accesses: random (default), sequential, or once: each page once",
  },
  write: { help: "change what was read, instead of only reading" },
  rate: { value: "N", help: "most accesses of a thread in a second; default 0: no limit" },
  cpus: { value: "A,B,...", help: "pin the threads to these CPUs in turn" },
  accesses: { value: "N", help: "end a thread after so many accesses; default 0: no limit" },
  "until-touched": {
    help: "end when every page was touched, not when every page is here",
  },
  seed: { value: "N", help: "refuse an image made with another seed" },
  backing: { value: "KIND", help: "of its memory: anonymous (default) or memfd" },
  spin: {
    value: "MICROSECONDS",
    help: "look for page faults so long before sleeping; default 0",
  },
  ...DECOMPRESS_OPTION,
  ...MULTIFD_OPTION,
  ...APPROVAL_OPTIONS,
  ...ACCESS_OPTIONS,
  json: {
    help:
      "print JSON objects, one a line: listening, progress, sent-away, not-allowed, refused, paused, resumed, result",
  },
} as const satisfies Options;

/** The command `workload` of the destination side. */
export const WORKLOAD: Command = {
  synopsis: "--listen ADDRESS [options]",
  about: [
    "Receives a workload guest, a saved one from serve or a running one from workload --to of the " +
    "source side: threads that use all the memory, and know what it must hold.",
    "When all memory is here the guest is stopped and every byte of it is checked.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "every byte is right",
    [ExitCode.FAILED]: "the migration failed, or a byte is wrong",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.CANNOT_LISTEN]: "the address cannot be listened at",
    [ExitCode.INTERRUPTED]: "interrupted",
  },
  run: workloadCommand,
  exitCodeOf,
};

interface WorkloadArguments extends SwitchoverAckOptions {
  readonly address: SocketAddress;
  readonly backing: Backing;
  readonly spin: number;
  readonly decompressThreads: number;
  readonly multifdChannels?: number;
  readonly access: AccessOptions;
  readonly json: boolean;
  readonly workload: WorkloadOptions;
}

/**
 * Receives a workload guest, runs it until its memory is here, and checks every byte.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {MigrationError} when the migration failed before the guest ran
 */
export async function workloadCommand(args: readonly string[]): Promise<number> {
  const settings = readArguments(args);
  const interrupted = Promise.withResolvers<never>();
  interrupted.promise.catch(() => {}); // may come when nobody waits for it
  using _interrupt = onInterrupt(() => interrupted.reject(new Interrupted("the guest is gone")));
  const reporter = newReporter(settings.json, tell);
  try {
    return await receive(settings, reporter, interrupted.promise);
  } finally {
    reporter.end();
  }
}

async function receive(
  { address, workload, json: _json, access, ...settings }: WorkloadArguments,
  reporter: Reporter<WorkloadEvent>,
  interrupted: Promise<never>,
): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const guest = newGuest(workload);
  stack.defer(() => guest.stop());
  const destination = stack.use(new Destination({ guest, ...settings, ...access }));
  await guest.ready;
  const listening = await destination.listen(address);
  reporter.event({ event: "listening", address: formatSocketAddress(listening) });
  warnOfClear(listening, access);
  const pauseReason = () => destination.pauseReason?.message ?? "";
  const progress = (): WorkloadProgress => {
    const statistics = destination.statistics();
    return {
      destination: statistics,
      workload: guest.statistics(),
      ...statistics.status === "postcopy-paused" ? { "error-desc": pauseReason() } : {},
    };
  };
  const connections = new ConnectionNews();
  const timer = setInterval(() => {
    for (const news of connections.look(destination, performance.now())) reporter.event(news);
    reporter.event({ event: "progress", ...progress() });
  }, PROGRESS_INTERVAL);
  stack.defer(() => clearInterval(timer));
  tellPauses(destination, reporter).catch(() => {}); // it ended

  const endsItself = workload.pattern === "once" || workload.untilTouched ||
    workload.accesses !== 0;
  await Promise.race([
    endsItself ? Promise.all([destination.finished, guest.ended]) : destination.finished,
    guest.ended.then(() => destination.finished), // fails when a thread breaks down
    interrupted,
  ]);
  await Promise.race([guest.halt(), interrupted]);
  clearInterval(timer);
  const started = monotonicNanoseconds();
  const check = await Promise.race([guest.check(), interrupted]);
  const checkTime = monotonicNanoseconds() - started;
  const result: WorkloadResult = {
    ...progress(),
    percentiles: waitPercentiles(guest),
    check,
    checkTime,
    startedAt: guest.startedAt ?? 0,
  };
  reporter.event({ event: "result", ...result });
  return isRight(result) ? ExitCode.DONE : ExitCode.FAILED;
}

/** Tells each pause, and when a source has resumed; rejects at the end of the migration. */
async function tellPauses(
  destination: Destination,
  reporter: Reporter<WorkloadEvent>,
): Promise<never> {
  while (true) {
    await destination.waitFor("postcopy-paused");
    reporter.event({ event: "paused", reason: destination.pauseReason?.message ?? "" });
    await destination.waitFor("postcopy-active");
    reporter.event({ event: "resumed" });
  }
}

function tell(event: WorkloadEvent, line: ProgressLine): void {
  switch (event.event) {
    case "listening":
      return warnLine(`Listening on ${event.address}`);
    case "progress":
      return line.update(progressText(event));
    case "sent-away":
    case "not-allowed":
    case "refused":
      line.end();
      return warnLine(`postcopy: ${connectionText(event)}`);
    case "paused":
      line.end();
      return warnLine(
        `Paused: ${event.reason}: threads that wait for a page stay held until the source has ` +
          "connected again, which it tries by itself; Ctrl-C ends the guest",
      );
    case "resumed":
      line.end();
      return warnLine("Going on: the source has connected again");
    case "result":
      line.clear();
      return printLine(resultLines(event).join("\n"));
  }
}

function newGuest(options: WorkloadOptions): WorkloadGuest {
  try {
    return new WorkloadGuest(options);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

function readArguments(args: readonly string[]): WorkloadArguments {
  const values = parseOptions(args, OPTIONS);
  return {
    address: listenArgument(values.listen),
    backing: choiceArgument("backing", values.backing ?? "anonymous", BACKINGS),
    spin: countArgument("spin", values.spin ?? "0"),
    decompressThreads: decompressThreadsArgument(values["decompress-threads"]),
    ...multifdArgument(values.multifd),
    ...switchoverAckArguments(values),
    access: accessArguments(values),
    json: values.json ?? false,
    workload: {
      threads: countArgument("threads", values.threads ?? "2"),
      pattern: choiceArgument("pattern", values.pattern ?? "random", ACCESS_PATTERNS),
      write: values.write ?? false,
      rate: countArgument("rate", values.rate ?? "0"),
      cpus: countsArgument("cpus", values.cpus),
      accesses: countArgument("accesses", values.accesses ?? "0"),
      untilTouched: values["until-touched"] ?? false,
      seed: values.seed === undefined ? undefined : countArgument("seed", values.seed),
    },
  };
}
