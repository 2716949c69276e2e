// deno-lint-ignore-file no-console -- a command
/** `serve IMAGE --to ADDRESS`. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { type Options, parseCommand } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { Interrupted, onInterrupt } from "../../migration/command/interrupt.ts";
import { ProgressLine } from "../../migration/report/progress_line.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
} from "../../migration/report/units.ts";
import { lossOf } from "../outgoing/fate.ts";
import { compressionNote } from "./compress_arguments.ts";
import { ExitCode, exitCodeOf, IMAGE_KINDS, imageArgument } from "./command_line.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { OUTGOING_OPTIONS, outgoingArguments } from "./outgoing_arguments.ts";
import { sentPagesText } from "./sent_pages_text.ts";
import { Source, type SourceOptions } from "../source.ts";
import type { SourceStatistics } from "../outgoing/statistics.ts";

/** Milliseconds between two progress lines. */
const PROGRESS_INTERVAL = 100;

const OPTIONS = {
  ...OUTGOING_OPTIONS,
  "huge-pages": {
    value: "BLOCK,...",
    help: "RAM blocks that lie in pages of 2 MiB at the destination",
  },
  json: { help: "print the figures as one JSON object at the end" },
} as const satisfies Options;

/** The command `serve`. */
export const SERVE: Command = {
  synopsis: "IMAGE --to ADDRESS [options]",
  about: [
    "Runs the machine in IMAGE at a destination, a QEMU that waits with -incoming or a destination " +
    "of this project, and sends its pages, those that the machine asks for first.",
    IMAGE_KINDS,
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "the destination has all of the machine",
    [ExitCode.FAILED]: "the migration failed",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.BAD_IMAGE]: "the image cannot be used",
    [ExitCode.UNREACHABLE]: "the destination cannot be reached",
    [ExitCode.INTERRUPTED]: "interrupted",
  },
  run: serveCommand,
  exitCodeOf,
};

/** What was asked for. */
interface ServeArguments {
  readonly path: string;
  /** Names of the blocks that are on huge pages at the destination. */
  readonly hugePages: readonly string[];
  readonly json: boolean;
  readonly options: SourceOptions;
}

/**
 * Serves an image until the destination has all of it.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ImageError} for an image that cannot be used
 * @throws {MigrationError} when the migration failed
 */
export async function serveCommand(args: readonly string[]): Promise<number> {
  const abort = new AbortController();
  const { path, hugePages, json, options } = readArguments(args, abort.signal);
  const note = compressionNote(options.compress);
  if (note !== undefined) console.error(note);
  using _interrupt = onInterrupt(() => abort.abort(new Interrupted("the image is as it was")));
  const line = ProgressLine.on(Deno.stderr);
  using opened = await openImage(path, {
    signal: abort.signal,
    onProgress: (done, total) => line.update(`Indexing ${path}: ${formatShare(done, total)}`),
  });
  line.clear();
  using image = withHugePages(opened, hugePages);
  announce(image, options.to);
  return await serve(image, options, json, line);
}

function readArguments(args: readonly string[], signal: AbortSignal): ServeArguments {
  const { values, positionals } = parseCommand(args, OPTIONS);
  return {
    path: imageArgument(positionals),
    hugePages: values["huge-pages"]?.split(",") ?? [],
    json: values.json ?? false,
    options: { ...outgoingArguments(values), signal },
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

async function serve(
  image: Image,
  options: SourceOptions,
  json: boolean,
  line: ProgressLine,
): Promise<number> {
  await using source = new Source(image, options);
  const progress = setInterval(
    () => line.update(progressText(source.statistics())),
    PROGRESS_INTERVAL,
  );
  try {
    await source.run();
    line.clear();
    const statistics = source.statistics();
    console.log(json ? JSON.stringify(statistics) : summaryText(statistics));
    return ExitCode.DONE;
  } catch (error) {
    line.clear();
    const statistics = source.statistics();
    let reason = error as Error;
    if (error instanceof Interrupted && statistics["time-to-run"] !== undefined) {
      reason = new Interrupted(lossOf(statistics.ram.remaining / statistics.ram["page-size"]));
    }
    // QEMU's name for the reason.
    if (json) console.log(JSON.stringify({ ...statistics, "error-desc": reason.message }));
    throw reason;
  } finally {
    clearInterval(progress);
  }
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
    sentPagesText(statistics),
    `${formatCount(ram["postcopy-requests"])} requested`,
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}
