/** `restore IMAGE --qmp ADDRESS`: all that a waiting QEMU needs to run a saved machine, in one command. */

import { parseSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import {
  type Options,
  type OptionValues,
  parseCommand,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onInterrupt } from "../../migration/command/interrupt.ts";
import { warnLine } from "../../migration/command/output.ts";
import { shellWord } from "../../migration/command/shell_word.ts";
import { ProgressLine } from "../../migration/report/progress_line.ts";
import { ExitCode, exitCodeOf, IMAGE_KINDS } from "../../server/command/command_line.ts";
import { compressionNote } from "../../server/command/compress_arguments.ts";
import { HandOverGuard } from "../../server/command/hand_over_guard.ts";
import { withHugeBlocks } from "../../server/command/huge_pages_argument.ts";
import { OrderKeeper } from "../../server/command/order_keeper.ts";
import {
  announceServing,
  openServed,
  SERVE_OPTIONS,
  type ServeArguments,
  serveArguments,
} from "../../server/command/serve_command.ts";
import { interruptedAtRest, Serving } from "../../server/command/serving.ts";
import { checkCredentials } from "../../server/outgoing/encryption.ts";
import { checkFits, hugePagesAt } from "./fitting.ts";
import { MigrationEvents } from "./migration_events.ts";
import { Monitor } from "./monitor.ts";
import { QMP_OPTION, qmpArgument, QmpExitCode, qmpExitCodeOf } from "./qmp_options.ts";
import { QEMU_TLS_OPTION } from "./qemu_tls.ts";
import { RestoreAttendant } from "./restore_attendant.ts";
import { type AskedQemu, makeReady, makeReadyToRecover } from "./restore_ready.ts";
import { checkPlace, type PlaceArguments } from "./waiting_place.ts";
import { lookAtWaiting } from "./waiting_qemu.ts";

const OPTIONS = {
  ...QMP_OPTION,
  "listen-uri": {
    value: "ADDRESS",
    help:
      "where QEMU is to listen for the machine: tcp:HOST:PORT (port 0: one that is free) or unix:PATH; " +
      "default: a private socket beside its monitor, when that is a unix socket",
  },
  ...QEMU_TLS_OPTION,
  ...SERVE_OPTIONS,
  to: {
    value: "ADDRESS",
    help: "by what QEMU is reached from here, where that is not the address of --listen-uri",
  },
  recover: {
    help:
      "go on with a QEMU that is paused since another restore or serve of this image ended or broke",
  },
  json: { help: "print the figures, QEMU's among them, as one JSON object at the end" },
} as const satisfies Options;

/** The command `restore`. */
export const RESTORE: Command = {
  synopsis: "IMAGE --qmp ADDRESS [options]",
  about: [
    "Runs the machine in IMAGE in a QEMU that was started with -incoming defer: looks whether it fits, sets " +
    "what it needs, has it listen, and serves the image as serve does. When the connection breaks, QEMU is " +
    "told to listen again, and it goes on, as often as it takes.",
    "QEMU is spoken to by QMP alone. Before the machine runs there, what was set is put back when it fails. " +
    "SIGTERM, SIGHUP and Ctrl-C do what they do to serve.",
    IMAGE_KINDS,
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "QEMU has all of the machine",
    [ExitCode.FAILED]: "the migration failed",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.BAD_IMAGE]: "the image cannot be used",
    [ExitCode.UNREACHABLE]: "QEMU or its monitor cannot be reached",
    [ExitCode.HANDED_OVER]: "refused: the machine may run at a destination already",
    [QmpExitCode.UNFIT]: "QEMU does not wait for this machine, or refuses what it needs",
    [ExitCode.INTERRUPTED]: "interrupted",
  },
  run: restoreCommand,
  exitCodeOf: (error) => qmpExitCodeOf(error, ExitCode.UNREACHABLE) ?? exitCodeOf(error),
};

/**
 * Restores an image into a QEMU.
 *
 * @param program what the user types before a command's name
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {MonitorError} when QEMU cannot be spoken to, or cannot take the machine
 * @throws what `serve` does
 */
export async function restoreCommand(args: readonly string[], program: string): Promise<number> {
  const { values, positionals } = parseCommand(args, OPTIONS);
  const place = placeArguments(values);
  const served = serveArguments({ ...values, to: values.to ?? values.qmp }, positionals);
  const note = compressionNote(served.options.compress);
  if (note !== undefined) warnLine(note);
  checkCredentials({ ...served.options, to: place.to ?? place.listen ?? place.qmp });
  const words = ["restore", ...args.map(shellWord)];
  using early = new EarlyInterrupt();
  const events = new MigrationEvents();
  await using monitor = await Monitor.connect({
    address: place.qmp,
    timeout: served.options.stallTimeout!,
    onEvent: events.hear,
    onEnd: events.end,
    signal: early.signal,
  });
  const own = served.options.tls;
  const tls = { own, role: "client" as const, said: values["qemu-tls-creds"] };
  const restoring: Restoring = {
    asked: { monitor, place, signal: early.signal, tls },
    events,
    early,
    served,
    modeSaid: values.mode !== undefined,
    command: [program, ...words].join(" "),
    recoverCommand: [program, ...words.filter((word) => !INTENTS.includes(word)), "--recover"].join(
      " ",
    ),
  };
  return await restore(restoring, values.json ?? false);
}

/** What says with which intent a machine is served. */
const INTENTS: readonly string[] = ["--recover", "--start-anew"];

/** All that is known before the QEMU is looked at. */
interface Restoring {
  readonly asked: AskedQemu;
  readonly events: MigrationEvents;
  readonly early: EarlyInterrupt;
  readonly served: ServeArguments;
  readonly modeSaid: boolean;
  /** The words that the user typed. */
  readonly command: string;
  /** Those that go on with its guest. */
  readonly recoverCommand: string;
}

/** Ctrl-C before anything is sent. */
class EarlyInterrupt implements Disposable {
  readonly #abort = new AbortController();
  readonly #listening = onInterrupt(() => this.#abort.abort(interruptedAtRest()));

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Leaves the signals to others. Doing so again does nothing. */
  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }
}

async function restore(restoring: Restoring, json: boolean): Promise<number> {
  const { asked, events, early, served, command, recoverCommand } = restoring;
  const { path, offset, hugePages, intent, order } = served;
  const { monitor } = asked;
  const qemu = intent === "recover" ? undefined : await lookAtWaiting(monitor);
  const line = ProgressLine.on(Deno.stderr);
  using opened = await openServed(path, offset, line);
  using image = withHugeBlocks(
    opened,
    qemu === undefined ? hugePages : hugePagesAt(qemu.blocks, hugePages),
  );
  if (qemu !== undefined) checkFits(image, qemu);
  // The QEMU is known by its monitor: where it listens is another address each time.
  using guard = await HandOverGuard.look(image, asked.place.qmp, intent, command);
  const keeper = await OrderKeeper.open(image, order);
  early.signal.throwIfAborted();
  const { place, first, mode } = qemu === undefined
    ? await makeReadyToRecover(asked, served.options.mode!)
    : await makeReady(asked, qemu, served.options, restoring.modeSaid);
  using _place = place;
  const options = { ...served.options, to: first.to, mode };
  announceServing(image, options);
  for (const note of [...guard.notes, ...keeper.notes]) warnLine(note);
  const timeout = options.stallTimeout!;
  const attendant = new RestoreAttendant({
    monitor,
    events,
    place,
    first,
    connectsFirst: qemu !== undefined,
    timeout,
    recoverCommand,
  });
  const serving = new Serving(image, options, guard, keeper, line, attendant);
  early[Symbol.dispose]();
  if (!early.signal.aborted) return await serving.run(json);
  const { lines } = await attendant.ended("nowhere");
  for (const text of lines) warnLine(text);
  throw early.signal.reason;
}

function placeArguments(values: OptionValues<typeof OPTIONS>): PlaceArguments {
  const place = {
    qmp: qmpArgument(values.qmp),
    listen: optionalAddress(values["listen-uri"]),
    to: optionalAddress(values.to),
  };
  checkPlace(place);
  return place;
}

function optionalAddress(text: string | undefined): SocketAddress | undefined {
  return text === undefined ? undefined : parseSocketAddress(text);
}
