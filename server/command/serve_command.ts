/** `serve IMAGE --to ADDRESS`. */

import { warnLine } from "../../migration/command/output.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import {
  type Options,
  type OptionValues,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onInterrupt } from "../../migration/command/interrupt.ts";
import { POSTCOPY_SIGNAL, postcopySignalCommand } from "../../migration/command/postcopy_signal.ts";
import { shellWord } from "../../migration/command/shell_word.ts";
import { ProgressLine } from "../../migration/report/progress_line.ts";
import { formatBytes, formatDuration, formatShare } from "../../migration/report/units.ts";
import { compressionNote } from "./compress_arguments.ts";
import {
  ExitCode,
  exitCodeOf,
  IMAGE_KINDS,
  IMAGE_OPTIONS,
  imageArgument,
  offsetArgument,
} from "./command_line.ts";
import {
  HUGE_PAGES_OPTION,
  type HugeBlocks,
  hugePagesArgument,
  withHugeBlocks,
} from "./huge_pages_argument.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { LISTEN_OPTIONS, listenCommand, refuseListening } from "./serve_listen.ts";
import { HandOverGuard, type Intent } from "./hand_over_guard.ts";
import { imageNotes } from "./image_notes.ts";
import { ORDER_OPTIONS, type OrderArguments, orderArguments } from "./order_arguments.ts";
import { OrderKeeper } from "./order_keeper.ts";
import { OUTGOING_OPTIONS, outgoingArguments } from "./outgoing_arguments.ts";
import { checkCredentials } from "../outgoing/encryption.ts";
import { interruptedAtRest, Serving } from "./serving.ts";
import { POSTCOPY_AFTER_OPTION, postcopyArgument } from "./postcopy_after.ts";
import type { SourceOptions } from "../source.ts";

/** The options of every command that serves an image to one destination. */
export const SERVE_OPTIONS = {
  ...IMAGE_OPTIONS,
  ...OUTGOING_OPTIONS,
  ...ORDER_OPTIONS,
  ...HUGE_PAGES_OPTION,
  ...POSTCOPY_AFTER_OPTION,
  recover: {
    help:
      "go on with a destination that is paused since another serve of this image ended or broke",
  },
  "start-anew": {
    help:
      "start the machine from IMAGE although a serve before handed it over and did not complete, which is " +
      "refused otherwise: when that one is gone for good, and its disks are as they were at the save; one " +
      "that is still there, paused, could be lost",
  },
} as const satisfies Options;

const OPTIONS = {
  ...SERVE_OPTIONS,
  ...LISTEN_OPTIONS,
  json: {
    help:
      "print the figures as one JSON object at the end; with --listen JSON objects, one a line: " +
      "listening, begun, resumed, progress, ended, refused, note",
  },
} as const satisfies Options;

/** The command `serve`. */
export const SERVE: Command = {
  synopsis: "IMAGE --to ADDRESS [options] | --listen ADDRESS [NAME=]IMAGE... [options]",
  about: [
    "Runs the machine in IMAGE at a destination, a QEMU that waits with -incoming or a destination " +
    "of this project, and sends its pages, those that the machine asks for first.",
    "With --multifd-channels all pages go before the guest, and SIGUSR2 ends that where --postcopy-after was " +
    "given: the guest runs there, and the rest follows on demand.",
    "With --listen it is a page server: clients (lazy --from ADDRESS/NAME) connect and ask for an image by " +
    "name, any number at once. SIGTERM and SIGHUP have it wait until none of them needs it, Ctrl-C warns, " +
    "and a second one ends it; clients that lack pages then wait for the next server.",
    IMAGE_KINDS,
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "the destination has all of the machine",
    [ExitCode.FAILED]: "the migration failed",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.BAD_IMAGE]: "the image cannot be used",
    [ExitCode.UNREACHABLE]: "the destination cannot be reached",
    [ExitCode.HANDED_OVER]: "refused: the machine may run at a destination already",
    [ExitCode.INTERRUPTED]: "interrupted",
  },
  run: serveCommand,
  exitCodeOf,
};

/** What was asked for. */
export interface ServeArguments {
  readonly path: string;
  /** Where in it the stream begins, in bytes, when that was said. */
  readonly offset: number | undefined;
  /** The blocks that are on huge pages at the destination. */
  readonly hugePages: HugeBlocks;
  readonly intent: Intent;
  readonly order: OrderArguments;
  readonly options: SourceOptions;
}

/**
 * Serves an image until the destination has all of it.
 *
 * @param program what the user types before a command's name
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {HandedOverError} when the guest may run at a destination already
 * @throws {TlsError} for credentials that cannot be used, before the image is looked at
 * @throws {ImageError} for an image that cannot be used
 * @throws {MigrationError} when the migration failed
 */
export async function serveCommand(args: readonly string[], program: string): Promise<number> {
  const { values, positionals } = parseCommand(args, OPTIONS);
  if (values.listen !== undefined) return await listenCommand(values, positionals);
  refuseListening(values);
  const { path, offset, hugePages, intent, order, options } = serveArguments(values, positionals);
  const note = compressionNote(options.compress);
  if (note !== undefined) warnLine(note);
  checkCredentials(options); // an index may take minutes
  const line = ProgressLine.on(Deno.stderr);
  using opened = await openServed(path, offset, line);
  using image = withHugeBlocks(opened, hugePages);
  const command = [program, "serve", ...args.map(shellWord)].join(" ");
  using guard = await HandOverGuard.look(image, options.to, intent, command);
  announceServing(image, options);
  const keeper = await OrderKeeper.open(image, order);
  for (const note of [...guard.notes, ...keeper.notes]) warnLine(note);
  return await new Serving(image, options, guard, keeper, line).run(values.json ?? false);
}

/**
 * Opens an image that is to be served, which may take long when it has no index yet, and be interrupted.
 *
 * @throws {ImageError} for an image that cannot be used
 */
export async function openServed(
  path: string,
  offset: number | undefined,
  line: ProgressLine,
): Promise<Image> {
  const abort = new AbortController();
  using _interrupt = onInterrupt(() => abort.abort(interruptedAtRest()));
  const image = await openImage(path, {
    ...offset === undefined ? {} : { offset },
    signal: abort.signal,
    onProgress: (done, total) => line.update(`Indexing ${path}: ${formatShare(done, total)}`),
  });
  line.clear();
  return image;
}

/**
 * Reads {@linkcode SERVE_OPTIONS}.
 *
 * @throws {UsageError} for arguments that cannot be understood
 */
export function serveArguments(
  values: OptionValues<typeof SERVE_OPTIONS>,
  positionals: readonly string[],
): ServeArguments {
  const { recover = false, "start-anew": anew = false } = values;
  if (recover && anew) {
    throw new UsageError(
      "Both --recover and --start-anew given: --recover goes on with the guest; leave the other out",
    );
  }
  return {
    path: imageArgument(positionals),
    offset: offsetArgument(values),
    hugePages: hugePagesArgument(values["huge-pages"]),
    intent: recover ? "recover" : anew ? "start-anew" : "start",
    order: orderArguments(values),
    options: { ...outgoingArguments(values), ...postcopyArgument(values), recover },
  };
}

/** Tells what is served, and what its user may not expect of it. */
export function announceServing(image: Image, options: SourceOptions): void {
  const { pageCount, targetPageSize } = image.layout;
  const size = formatBytes(pageCount * targetPageSize);
  const what = [image.machine, size];
  const { libvirt } = image;
  if (libvirt?.domain !== undefined) what.push(`libvirt's domain ${libvirt.domain}`);
  warnLine(`Serving ${image.path} (${what.join(", ")}) to ${formatSocketAddress(options.to)}`);
  for (const note of imageNotes(image, options)) warnLine(note);
  const { multifd, postcopyAfter, recover } = options;
  if (multifd === undefined || postcopyAfter === undefined || recover === true) return;
  const after = postcopyAfter === Infinity
    ? ""
    : `or after ${formatDuration(postcopyAfter * 1e6)}, `;
  warnLine(
    `The machine runs there once all of this has come, ${after}or at ${POSTCOPY_SIGNAL}: ${postcopySignalCommand()}`,
  );
}
