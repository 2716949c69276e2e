/** `lazy --criu DIR`: the memory of a process tree that CRIU restores. */

import { parseSocketAddress } from "../../ffi/socket_address.ts";
import { choiceArgument, type Options, UsageError } from "../../migration/command/arguments.ts";
import { onHeldInterrupt } from "../../migration/command/interrupt.ts";
import { newReporter, type Reporter } from "../../migration/command/reporter.ts";
import { CRIU_VERSIONS, LazyTree, type LazyTreeOptions } from "../lazy/criu/lazy_tree.ts";
import { ON_LOSS } from "../lazy/lazy_task.ts";
import { ExitCode } from "./command_line.ts";
import { type LazyCommandEvent, lazyProgressText, tellLazy } from "./lazy_report.ts";

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 500;

/** The options of CRIU's trees alone. */
export const CRIU_OPTIONS = {
  criu: {
    value: "DIR",
    help: "serve the processes of a criu restore --lazy-pages from CRIU's images in DIR (its -D)",
  },
  "criu-work-dir": {
    value: "DIR",
    help: "the -W of that criu restore, where lazy-pages.socket is made; default the DIR of --criu",
  },
  "criu-page-server": {
    value: "ADDRESS",
    help: "where criu dump --lazy-pages answers, for pages that it did not write: tcp:HOST:PORT",
  },
  "criu-version": {
    value: CRIU_VERSIONS.join("|"),
    help: "of the CRIU there: 4.1 (the default) also for older ones, 4.2 for newer ones",
  },
} as const satisfies Options;

/** Options that do as well for CRIU's trees. */
const COMMON = ["held-by", "on-loss", "order", "record", "no-fill", "json"];

/** The command line, as far as it is looked at here. */
interface CriuCommandLine {
  readonly values: TreeValues & {
    readonly "held-by"?: string | undefined;
    readonly order?: string | undefined;
    readonly record?: boolean | undefined;
    readonly json?: boolean | undefined;
  };
  readonly positionals: readonly string[];
}

/**
 * Serves until all memory is there.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ImageError} when the images cannot be served
 * @throws {SyscallError} when the socket cannot be made, or the page server does not answer
 */
export async function lazyCriuCommand(line: CriuCommandLine): Promise<number> {
  const options = readOptions(line);
  const reporter = newReporter<LazyCommandEvent>(line.values.json ?? false, tellLazy);
  await using tree = await LazyTree.open({ ...options, onEvent: (event) => reporter.event(event) });
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  // With a holder the next one goes on.
  const needing = () => tree.isHeld ? 0 : tree.processes;
  using _signals = onSignals(tree, needing, reporter, end);
  await tree.listen();
  reporter.event({ event: "listening", socket: tree.socket });
  const timer = setInterval(() => {
    const processes = tree.statistics();
    if (processes.length > 0) reporter.event({ event: "progress", processes });
  }, PROGRESS_INTERVAL);
  try {
    return await Promise.race([ended, tree.done.then(() => ExitCode.DONE)]);
  } finally {
    clearInterval(timer);
    reporter.end();
  }
}

function onSignals(
  tree: LazyTree,
  needing: () => number,
  reporter: Reporter<LazyCommandEvent>,
  end: (code: number) => void,
): Disposable {
  return onHeldInterrupt({
    isHeld: () => needing() > 0,
    hold: (signal) => {
      const needed = lazyProgressText(tree.statistics(), ["process", "processes"]);
      reporter.note(
        signal === "SIGINT"
          ? `Needed by ${needed}: ended now, each process gets SIGBUS at the next page that is missing: ` +
            "wait until all is there, or press Ctrl-C again"
          : `${signal}: ends when all memory is there: ${needed}`,
      );
    },
    end: (held) => end(held ? ExitCode.INTERRUPTED : ExitCode.DONE),
  });
}

function readOptions({ values, positionals }: CriuCommandLine): LazyTreeOptions {
  const known = [...Object.keys(CRIU_OPTIONS), ...COMMON];
  const other = positionals[0] ?? Object.keys(values).find((name) => !known.includes(name));
  if (other !== undefined) {
    throw new UsageError(`Not for processes of CRIU: ${other}: leave it out, or leave out --criu`);
  }
  const { "held-by": holder, order, record } = values;
  return { ...treeArguments(values), holder, order, record };
}

/** What {@linkcode treeArguments} reads. */
type TreeValues =
  & {
    readonly [name in keyof typeof CRIU_OPTIONS | "on-loss"]?: string | undefined;
  }
  & { readonly "no-fill"?: boolean | undefined };

/**
 * Reads what is said of a tree and of how it is served; who asks a daemon for it says the same.
 *
 * @throws {UsageError} for arguments that cannot be understood
 */
export function treeArguments(values: TreeValues): LazyTreeOptions {
  const { criu, "criu-version": version, "criu-page-server": server, "on-loss": onLoss } = values;
  if (criu === undefined || criu === "") {
    throw new UsageError("No directory given: say where CRIU's images are with --criu DIR");
  }
  if (version !== undefined && server === undefined) {
    throw new UsageError("Version of no page server: say where it is with --criu-page-server");
  }
  const doing = onLoss === undefined ? "hold" : choiceArgument("on-loss", onLoss, ON_LOSS);
  if (doing === "kill") {
    throw new UsageError(
      "CRIU names processes as they see themselves, so none is killed: --on-loss kill: say poison, then " +
        "they get SIGBUS",
    );
  }
  return {
    images: criu,
    workDirectory: values["criu-work-dir"],
    pageServer: server === undefined ? undefined : parseSocketAddress(server),
    criuVersion: version === undefined
      ? undefined
      : choiceArgument("criu-version", version, CRIU_VERSIONS),
    onLoss: doing,
    fill: !(values["no-fill"] ?? false),
  };
}
