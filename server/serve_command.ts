// deno-lint-ignore-file no-console -- a command
/** `serve IMAGE --to ADDRESS`. */

import { SyscallError } from "../ffi/errno.ts";
import { UnsupportedPlatformError } from "../ffi/platform.ts";
import {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "../ffi/socket_address.ts";
import { ProgressLine } from "../migration/report/progress_line.ts";
import { formatBytes, formatCount, formatDuration, formatRate } from "../migration/report/units.ts";
import {
  bytesArgument,
  ExitCode,
  imageArgument,
  parseCommand,
  secondsArgument,
  UsageError,
} from "./command_line.ts";
import { type Image, ImageError, openImage } from "./image/image.ts";
import { type Mode, MODES } from "./mode.ts";
import { Source, type SourceOptions } from "./source.ts";
import type { SourceStatistics } from "./statistics.ts";

/** Milliseconds between two progress lines. */
const PROGRESS_INTERVAL = 100;

/** What was asked for. */
interface ServeArguments {
  readonly path: string;
  readonly json: boolean;
  readonly options: SourceOptions;
}

/**
 * Serves an image until the destination has all of it.
 *
 * @returns the exit code
 */
export async function serveCommand(args: readonly string[]): Promise<number> {
  const abort = new AbortController();
  const { path, json, options } = readArguments(args, abort.signal);
  const onSignal = () => abort.abort(new Interrupted());
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  try {
    using image = await openImage(path);
    announce(image, options.to);
    return await serve(image, options, json);
  } catch (error) {
    return explain(error);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      Deno.removeSignalListener(signal, onSignal);
    }
  }
}

class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor() {
    super("Interrupted: the machine's image is as it was");
  }
}

function readArguments(args: readonly string[], signal: AbortSignal): ServeArguments {
  const { values, positionals } = parseCommand(args, {
    to: { type: "string" },
    mode: { type: "string" },
    "max-postcopy-bandwidth": { type: "string" },
    "stall-timeout": { type: "string" },
    json: { type: "boolean" },
  });
  const path = imageArgument(positionals);
  if (values.to === undefined) {
    throw new UsageError("No destination given: say where it listens with --to tcp:HOST:PORT");
  }
  const mode = values.mode ?? "preempt-full";
  if (!(MODES as readonly string[]).includes(mode)) {
    throw new UsageError(`Unknown --mode: ${mode}: use ${MODES.join(", ")}`);
  }
  let to: SocketAddress;
  try {
    to = parseSocketAddress(values.to);
  } catch (error) {
    if (error instanceof SocketAddressError) throw new UsageError(error.message);
    throw error;
  }
  const bandwidth = values["max-postcopy-bandwidth"] ?? "0";
  const stall = values["stall-timeout"] ?? "30";
  return {
    path,
    json: values.json ?? false,
    options: {
      to,
      mode: mode as Mode,
      maxPostcopyBandwidth: bytesArgument("max-postcopy-bandwidth", bandwidth),
      stallTimeout: secondsArgument("stall-timeout", stall),
      signal,
    },
  };
}

function announce(image: Image, to: SocketAddress): void {
  const { pageCount, targetPageSize } = image.layout;
  const size = formatBytes(pageCount * targetPageSize);
  console.error(`Serving ${image.path} (${image.machine}, ${size}) to ${formatSocketAddress(to)}`);
  if (image.index?.state === "temporary") {
    console.error(`Index is not kept beside the image: ${image.index.reason ?? "unknown reason"}`);
  }
  const missing = image.counts?.reduce((sum, { missing }) => sum + missing, 0) ?? 0;
  if (missing > 0) {
    console.error(
      `${
        formatCount(missing)
      } pages never occur in the image: they are sent as zeros, as QEMU loads them`,
    );
  }
}

async function serve(image: Image, options: SourceOptions, json: boolean): Promise<number> {
  await using source = new Source(image, options);
  const line = new ProgressLine(
    (text) => Deno.stderr.writeSync(new TextEncoder().encode(text)),
    Deno.stderr.isTerminal(),
    () => Deno.stderr.isTerminal() ? Deno.consoleSize().columns : 80,
  );
  const progress = setInterval(
    () => line.update(progressText(source.statistics())),
    PROGRESS_INTERVAL,
  );
  try {
    await source.run();
  } finally {
    clearInterval(progress);
    line.clear();
    if (json) console.log(JSON.stringify(source.statistics()));
  }
  if (!json) console.log(summaryText(source.statistics()));
  return ExitCode.DONE;
}

function progressText(statistics: SourceStatistics): string {
  const { ram } = statistics;
  return [
    statistics.status,
    `${formatCount(ram.remaining / ram["page-size"])} pages left`,
    `${formatCount(ram["postcopy-requests"])} requested`,
    ...statistics["requests-served"] === 0
      ? []
      : [`${formatDuration(statistics["request-service-time"])} a request`],
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}

function summaryText(statistics: SourceStatistics): string {
  const { ram } = statistics;
  const run = statistics["time-to-run"];
  return [
    `Completed in ${formatDuration(statistics["total-time"] * 1e6)}`,
    ...run === undefined ? [] : [`running after ${formatDuration(run * 1e6)}`],
    `${formatCount(ram.normal)} pages and ${formatCount(ram.duplicate)} zero pages sent`,
    `${formatCount(ram["postcopy-requests"])} requested`,
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}

/** Says what went wrong and returns the exit code; mistakes of this program are not explained away. */
function explain(error: unknown): number {
  if (!(error instanceof Error)) throw error;
  const code = exitCodeOf(error);
  if (code === undefined) throw error;
  console.error(`postcopy: ${error.message}`);
  return code;
}

function exitCodeOf(error: Error): number | undefined {
  if (error instanceof Interrupted) return ExitCode.INTERRUPTED;
  if (error instanceof ImageError) return ExitCode.BAD_IMAGE;
  if (error instanceof UnsupportedPlatformError) return ExitCode.FAILED;
  if (error instanceof SocketAddressError) return ExitCode.UNREACHABLE;
  if (error instanceof SyscallError) {
    return error.syscall === "connect" ? ExitCode.UNREACHABLE : ExitCode.FAILED;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return ExitCode.UNREACHABLE;
  if (error.name === "MigrationError" || error.name === "ProtocolError") return ExitCode.FAILED;
  return undefined;
}
