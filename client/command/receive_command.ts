/** `receive --listen ADDRESS --image FILE`: a stock QEMU's migration ends in an image. */

import { printLine, warnLine } from "../../migration/command/output.ts";
import { survivingFileLimit } from "../../ffi/file_limit.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { type Options, parseOptions, UsageError } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { newReporter } from "../../migration/command/reporter.ts";
import {
  APPROVAL_OPTIONS,
  switchoverAckArguments,
} from "../../migration/command/switchover_ack_options.ts";
import type { SwitchoverAckOptions } from "../../migration/protocol/switchover_ack.ts";
import { MigrationError } from "../../migration/migration_error.ts";
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
import { imageNameOf } from "../../image/partial_file.ts";
import { ImageReceiver } from "../receive/image_receiver.ts";
import {
  type ReceiveEvent,
  receiveProgressText,
  type ReceiveResult,
  receiveResultLines,
} from "./receive_report.ts";
import { connectionText } from "./connection_news.ts";
import { onReceiveSignals } from "./receive_signals.ts";
import { Receiving } from "./receiving.ts";

const OPTIONS = {
  ...LISTEN_OPTION,
  image: { value: "FILE", help: "the image; it appears when it is complete" },
  recover: {
    value: "PARTIAL",
    help: "take up the file that a receive left which was killed after the switch",
  },
  overwrite: { help: "replace an image of that name" },
  ...DECOMPRESS_OPTION,
  ...MULTIFD_OPTION,
  ...APPROVAL_OPTIONS,
  ...ACCESS_OPTIONS,
  json: {
    help:
      "print JSON objects, one a line: listening, progress, sent-away, not-allowed, refused, waiting, paused, result",
  },
} as const satisfies Options;

/** The command `receive`. */
export const RECEIVE: Command = {
  synopsis: "--listen ADDRESS (--image FILE | --recover PARTIAL) [options]",
  about: [
    "Receives a running QEMU's guest into an image: migrate tcp:HOST:PORT there, with " +
    "migrate_start_postcopy or without. serve of the source side runs it again, so does QEMU 9.0 or " +
    "later.",
    "When the connection breaks after a switch to postcopy that the source cannot take back, it waits: " +
    "migrate -d -r tcp:HOST:PORT at the source goes on. Ctrl-C then warns and a second one ends it; " +
    "SIGTERM and SIGHUP have it finish.",
    "When it is killed then, or its host goes down, the source keeps the guest, and FILE.partial-NUMBER " +
    "stays: --recover takes it up, and migrate -d -r tcp:HOST:PORT at the source sends all pages again.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "the image is complete",
    [ExitCode.FAILED]: "the migration failed, or the image cannot be written",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.CANNOT_LISTEN]: "the address cannot be listened at",
    [ExitCode.INTERRUPTED]: "interrupted",
  },
  run: receiveCommand,
  exitCodeOf,
};

interface ReceiveArguments extends SwitchoverAckOptions {
  readonly address: SocketAddress;
  readonly path: string;
  readonly recover?: string;
  readonly overwrite: boolean;
  readonly decompressThreads: number;
  readonly multifdChannels?: number;
  readonly access: AccessOptions;
  readonly json: boolean;
}

/**
 * Receives a machine into an image.
 *
 * @param program what the user typed before the command's name
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {SyscallError} when the image cannot be made, or the address not be listened at
 * @throws {MigrationError} when the migration failed
 */
export async function receiveCommand(
  args: readonly string[],
  program: string,
): Promise<number> {
  const { address, path, json, access, ...settings } = readArguments(args);
  const reporter = newReporter<ReceiveEvent>(
    json,
    (event, line) => tellReceiving(event, line, (result) => receiveResultLines(result, program)),
  );
  // A limit on the size of files (ulimit -f) is told by an errno too: the signal would end the process.
  using _limit = survivingFileLimit();
  const abort = new AbortController();
  const { signal } = abort;
  await using receiver = new ImageReceiver({ path, ...settings, ...access, signal });
  using _signals = onReceiveSignals(receiver, abort, reporter);
  using receiving = new Receiving(receiver, path, reporter);
  try {
    const listening = await receiver.listen(address);
    reporter.event({ event: "listening", address: formatSocketAddress(listening) });
    warnOfClear(listening, access);
    receiving.begin();
    await receiver.finished;
    reporter.event(receiving.result);
    return ExitCode.DONE;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    reporter.event({ ...receiving.result, "error-desc": reason });
    if (!(error instanceof MigrationError) || error.code !== "CANCELLED") throw error;
    warnLine(`postcopy: ${error.message}`);
    return ExitCode.INTERRUPTED;
  }
}

/**
 * Tells people an event.
 *
 * @param line for progress
 * @param resultLines what is told of an end that is good
 */
export function tellReceiving(
  event: ReceiveEvent,
  line: ProgressLine,
  resultLines: (result: ReceiveResult) => readonly string[],
): void {
  switch (event.event) {
    case "listening":
      return warnLine(`Listening on ${event.address}`);
    case "progress":
      return line.update(receiveProgressText(event));
    case "sent-away":
    case "not-allowed":
    case "refused":
      line.end();
      return warnLine(`postcopy: ${connectionText(event)}`);
    case "waiting":
      return line.update(`Waiting: ${event.reason}`);
    case "paused":
      line.clear();
      return warnLine(`Paused: ${event.reason}: ${event.remedy}`);
    case "result":
      line.clear();
      if (event["error-desc"] !== undefined) return; // told as every error is
      return printLine(resultLines(event).join("\n"));
  }
}

function readArguments(args: readonly string[]): ReceiveArguments {
  const values = parseOptions(args, OPTIONS);
  const address = listenArgument(values.listen);
  const { recover } = values;
  const path = values.image ?? (recover === undefined ? undefined : imageNameOf(recover));
  if (path === undefined || path === "") {
    throw new UsageError("No image given: say what to write with --image FILE");
  }
  return {
    address,
    path,
    ...recover === undefined ? {} : { recover },
    overwrite: values.overwrite ?? false,
    decompressThreads: decompressThreadsArgument(values["decompress-threads"]),
    ...multifdArgument(values.multifd),
    ...switchoverAckArguments(values),
    access: accessArguments(values),
    json: values.json ?? false,
  };
}
