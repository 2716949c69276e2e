/** `lazy --firecracker SOCKET --image FILE`: the memory of VMs that hand over their userfaultfd; and of CRIU's trees. */

import {
  type Options,
  type OptionValues,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onHeldInterrupt } from "../../migration/command/interrupt.ts";
import { newReporter, type Reporter } from "../../migration/command/reporter.ts";
import { Holder } from "../lazy/holder/holder.ts";
import { Lazy, type LazyOptions } from "../lazy/lazy.ts";
import { ExitCode, exitCodeOf } from "./command_line.ts";
import { CRIU_OPTIONS, lazyCriuCommand } from "./lazy_criu_command.ts";
import { DIRTY_OPTION, onDirtySignal } from "./lazy_dirty.ts";
import { MEMORY_OPTIONS, memoryArguments } from "./lazy_options.ts";
import { type LazyCommandEvent, lazyProgressText, neededText, tellLazy } from "./lazy_report.ts";

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 500;

const OPTIONS = {
  firecracker: {
    value: "SOCKET",
    help: "where Firecracker's VMs connect: the backend_path of a mem_backend of type Uffd; who " +
      "connects needs write permission for it",
  },
  image: { value: "FILE", help: "where pages come from: the memory file of the snapshot" },
  ...MEMORY_OPTIONS,
  "held-by": {
    value: "SOCKET|systemd",
    help:
      "that of a holder, which keeps all that VMs handed over: should this be killed, the next " +
      "one with the same options goes on with them, and with VMs that connected meanwhile; with --criu the " +
      "processes that CRIU handed over. systemd: the " +
      "descriptor store of this service, which takes FileDescriptorStoreMax=, NotifyAccess=main and Restart=",
  },
  holder: {
    value: "SOCKET",
    help: "be such a holder, and nothing else",
  },
  ...DIRTY_OPTION,
  ...CRIU_OPTIONS,
  json: {
    help:
      "print JSON objects, one a line: listening, handed-over, progress, filled, refused, lost, " +
      "found, held, unheld, untold, dirty, ended, note; of a page server server-lost, server-found, complete; of a " +
      "holder taken, left; with --criu restored, forked, abandoned, missed",
  },
} as const satisfies Options;

/** The command `lazy`. */
export const LAZY: Command = {
  synopsis: "--firecracker SOCKET --image FILE|--from ADDRESS/NAME [options] | SOCKET FILE | " +
    "--holder SOCKET | --criu DIR",
  about: [
    "Serves the memory of Firecracker's VMs that are restored with a mem_backend of type Uffd, any " +
    "number of them at once: pages that a VM touches come first, the rest is filled meanwhile.",
    "lazy SOCKET FILE is the form in which page fault handlers of Firecracker are started.",
    "A VM needs it as long as it lives, for pages that its balloon gave back too: SIGTERM and SIGHUP " +
    "have it wait until all VMs are gone, Ctrl-C warns, and a second one ends it. With --held-by it ends " +
    "at once, and the next one goes on.",
    "lazy --criu DIR takes the place of criu lazy-pages: it serves one process tree that criu restore " +
    "--lazy-pages restores, and ends when all of its memory is there.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]:
      "ended by a signal, and no VM needed it; all memory of CRIU's processes is there",
    [ExitCode.FAILED]:
      "the file cannot be served, or the page server does not serve it; CRIU did not restore all " +
      "processes",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.CANNOT_LISTEN]: "the socket cannot be made",
    [ExitCode.INTERRUPTED]: "interrupted, and VMs wait for pages",
  },
  run: lazyCommand,
  exitCodeOf,
};

type ParsedCommand = ReturnType<typeof parseCommand<typeof OPTIONS>>;

interface LazyArguments {
  readonly holder?: string | undefined;
  readonly socket: string;
  /** Where bitmaps of dirty pages are kept. */
  readonly dirty?: string | undefined;
  readonly options: LazyOptions;
  readonly json: boolean;
}

/**
 * Serves until it is told to end.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ImageError} when the file cannot be served
 * @throws {SyscallError} when it cannot be read, or the socket not be made
 */
export async function lazyCommand(args: readonly string[]): Promise<number> {
  const parsed = parseCommand(args, OPTIONS);
  if (parsed.values.criu !== undefined) return await lazyCriuCommand(parsed);
  const { socket, dirty, options, json, holder } = readArguments(parsed);
  const reporter = newReporter<LazyCommandEvent>(json, tellLazy);
  if (holder !== undefined) return await holderCommand(holder, reporter);
  const onEvent = (event: LazyCommandEvent) => reporter.event(event);
  await using lazy = await Lazy.open({ ...options, onEvent });
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  using _signals = onSignals(
    () => options.holder === undefined ? lazy.processes : 0,
    lazy,
    reporter,
    end,
  );
  using _dirty = dirty === undefined ? undefined : onDirtySignal(lazy, dirty, reporter);
  await lazy.listen(socket);
  reporter.event({ event: "listening", socket });
  const timer = setInterval(() => {
    const processes = lazy.statistics();
    const image = lazy.remoteStatistics();
    if (processes.length === 0 && image === undefined) return;
    reporter.event({ event: "progress", processes, ...image === undefined ? {} : { image } });
  }, PROGRESS_INTERVAL);
  try {
    return await ended;
  } finally {
    clearInterval(timer);
    reporter.end();
  }
}

/** Holds until it is told to end, which it is not while a VM is held. */
async function holderCommand(
  path: string,
  reporter: Reporter<LazyCommandEvent>,
): Promise<number> {
  await using holder = new Holder((event) => reporter.event(event));
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  const needed = () =>
    `Holds ${holder.processes} VMs or trees of CRIU, which would wait for ever: end them first`;
  using _signals = onHeldInterrupt({
    isHeld: () => holder.processes > 0,
    hold: (signal) =>
      reporter.note(signal === "SIGINT" ? `${needed()}, or press Ctrl-C again` : needed()),
    end: (held) => end(held ? ExitCode.INTERRUPTED : ExitCode.DONE),
  });
  await holder.listen(path);
  reporter.event({ event: "listening", socket: path });
  return await ended;
}

function onSignals(
  needing: () => number,
  lazy: Lazy,
  reporter: Reporter<LazyCommandEvent>,
  end: (code: number) => void,
): Disposable {
  return onHeldInterrupt({
    isHeld: () => needing() > 0,
    hold: (signal) => {
      if (signal === "SIGINT") return reporter.note(neededText(lazy.statistics()));
      reporter.note(
        `${signal}: ends when no VM needs it any more: ${lazyProgressText(lazy.statistics())}`,
      );
      lazy.idle().then(() => end(ExitCode.DONE));
    },
    end: (held) => end(held ? ExitCode.INTERRUPTED : ExitCode.DONE),
  });
}

function readArguments({ values, positionals }: ParsedCommand): LazyArguments {
  const [socket = values.firecracker, image = values.image, extra] = positionals;
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`);
  if (positionals.length > 0 && (values.firecracker ?? values.image) !== undefined) {
    throw new UsageError(
      `Unexpected argument: ${positionals[0]}: write SOCKET FILE, or --firecracker and --image`,
    );
  }
  const { holder } = values;
  if (holder !== undefined) return holderArguments(holder, values, positionals);
  if (socket === undefined || socket === "") {
    throw new UsageError("No socket given: say where VMs connect with --firecracker SOCKET");
  }
  return {
    socket,
    dirty: values.dirty,
    json: values.json ?? false,
    options: {
      ...memoryArguments(image, values, "--image FILE"),
      dirty: values.dirty !== undefined,
      holder: values["held-by"],
    },
  };
}

function holderArguments(
  holder: string,
  values: OptionValues<typeof OPTIONS>,
  positionals: readonly string[],
): LazyArguments {
  const other = positionals[0] ??
    Object.keys(values).find((name) => !["holder", "json"].includes(name));
  if (other !== undefined) {
    throw new UsageError(
      `A holder serves nobody: leave out ${other}, and start lazy without --holder too`,
    );
  }
  return { holder, socket: "", json: values.json ?? false, options: { image: "" } };
}
