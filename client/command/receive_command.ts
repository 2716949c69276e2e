// deno-lint-ignore-file no-console -- a command
/** `receive --listen ADDRESS --image FILE`: a stock QEMU's migration ends in an image. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { type Options, parseOptions, UsageError } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onInterrupt } from "../../migration/command/interrupt.ts";
import { newReporter } from "../../migration/command/reporter.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { ProgressLine } from "../../migration/report/progress_line.ts";
import {
  DECOMPRESS_OPTION,
  decompressThreadsArgument,
  ExitCode,
  exitCodeOf,
  LISTEN_OPTION,
  listenArgument,
} from "./command_line.ts";
import { ImageReceiver } from "../receive/image_receiver.ts";
import { type ReceiveEvent, receiveProgressText, receiveResultLines } from "./receive_report.ts";

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 100;

const OPTIONS = {
  ...LISTEN_OPTION,
  image: { value: "FILE", help: "the image; it appears when it is complete" },
  overwrite: { help: "replace an image of that name" },
  ...DECOMPRESS_OPTION,
  json: { help: "print JSON objects, one a line: listening, progress, waiting, result" },
} as const satisfies Options;

/** The command `receive`. */
export const RECEIVE: Command = {
  synopsis: "--listen ADDRESS --image FILE [options]",
  about: [
    "Receives a running QEMU's guest into an image: migrate tcp:HOST:PORT there, with " +
    "migrate_start_postcopy or without. serve of the source side runs it again, so does QEMU 9.0 or " +
    "later.",
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

interface ReceiveArguments {
  readonly address: SocketAddress;
  readonly path: string;
  readonly overwrite: boolean;
  readonly decompressThreads: number;
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
  const { address, path, overwrite, decompressThreads, json } = readArguments(args);
  const reporter = newReporter<ReceiveEvent>(json, (event, line) => tell(event, line, program));
  // A limit on the size of files (ulimit -f) is told by an errno too: the signal would end the process.
  using _limit = ignoring("SIGXFSZ");
  const abort = new AbortController();
  const { signal } = abort;
  await using receiver = new ImageReceiver({ path, overwrite, decompressThreads, signal });
  let warned = false;
  using _interrupt = onInterrupt(() => {
    if (receiver.holdsGuest && !warned) {
      warned = true;
      return reporter.note(
        "The source has switched to postcopy and cannot let the guest go on: it is lost here and " +
          "stopped there if you interrupt once more",
      );
    }
    abort.abort(new MigrationError("CANCELLED", "Interrupted"));
  });
  const listening = await receiver.listen(address);
  reporter.event({ event: "listening", address: formatSocketAddress(listening) });
  const timer = setInterval(() => {
    const reason = receiver.waitReason;
    if (reason !== undefined) reporter.event({ event: "waiting", reason });
    else reporter.event({ event: "progress", ...receiver.statistics() });
  }, PROGRESS_INTERVAL);
  const result = () => ({
    event: "result" as const,
    image: path,
    ...receiver.machine === undefined ? {} : { machine: receiver.machine },
    ...receiver.statistics(),
  });
  try {
    await receiver.finished;
    reporter.event(result());
    return ExitCode.DONE;
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    reporter.event({ ...result(), "error-desc": error.message });
    if (error.code !== "CANCELLED") throw error;
    console.error(`postcopy: ${error.message}`);
    return ExitCode.INTERRUPTED;
  } finally {
    clearInterval(timer);
  }
}

function tell(event: ReceiveEvent, line: ProgressLine, program: string): void {
  switch (event.event) {
    case "listening":
      return console.error(`Listening on ${event.address}`);
    case "progress":
      return line.update(receiveProgressText(event));
    case "waiting":
      return line.update(`Waiting: ${event.reason}`);
    case "result":
      line.clear();
      if (event["error-desc"] !== undefined) return; // told as every error is
      return console.log(receiveResultLines(event, program).join("\n"));
  }
}

function ignoring(signal: Deno.Signal): Disposable {
  const ignore = () => {};
  Deno.addSignalListener(signal, ignore);
  return { [Symbol.dispose]: () => Deno.removeSignalListener(signal, ignore) };
}

function readArguments(args: readonly string[]): ReceiveArguments {
  const values = parseOptions(args, OPTIONS);
  const address = listenArgument(values.listen);
  if (values.image === undefined || values.image === "") {
    throw new UsageError("No image given: say what to write with --image FILE");
  }
  return {
    address,
    path: values.image,
    overwrite: values.overwrite ?? false,
    decompressThreads: decompressThreadsArgument(values["decompress-threads"]),
    json: values.json ?? false,
  };
}
