/** `migrate IMAGE --firecracker SOCKET` and `migrate --criu DIR`: the daemon serves memory on demand, as `lazy`. */

import { parseCommand, parseOptions, UsageError } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { ExitCode, exitCodeOf, EXITS } from "./daemon_words.ts";
import {
  FIRECRACKER_OPTIONS,
  firecrackerRequest,
  TREE_OPTIONS,
  treeRequest,
} from "./lazy_options.ts";
import { FOLLOW_OPTIONS, FOLLOWED, startAndFollow } from "./migrate_command.ts";

/** No daemon goes on with a lazy session of the one before it. */
const KEY = {
  value: "KEY",
  help:
    "of two calls with the same key the second starts nothing and tells of the session of the first, as long " +
    "as the daemon runs: for scripts that try again",
} as const;
const FIRECRACKER = { ...FIRECRACKER_OPTIONS, ...FOLLOW_OPTIONS, key: KEY } as const;
const TREE = { ...TREE_OPTIONS, ...FOLLOW_OPTIONS, key: KEY } as const;

const COMMON_EXITS: Command["exits"] = {
  ...EXITS,
  [ExitCode.BAD_IMAGE]: "the image cannot be used",
  [ExitCode.UNREACHABLE]: "the socket cannot be made, or the page server not be reached",
  [ExitCode.INTERRUPTED]: "left, or the session was cancelled",
};

/** The command `migrate --firecracker`. */
export const MIGRATE_FIRECRACKER: Command = {
  synopsis: "IMAGE|--from ADDRESS/NAME --firecracker SOCKET [options]",
  about: [
    "Has the daemon serve the memory of Firecracker's VMs, any number of them, as lazy does. IMAGE is a name that " +
    "postcopy images lists: the memory file of a snapshot. It listens until postcopy cancel, which is refused " +
    "while a VM needs it.",
    FOLLOWED,
  ],
  options: FIRECRACKER,
  exits: { [ExitCode.DONE]: "with --detach: it is listened", ...COMMON_EXITS },
  async run(args) {
    const { values, positionals: [image, extra] } = parseCommand(args, FIRECRACKER);
    if (extra !== undefined) throw new UsageError(`One IMAGE at a time: ${extra}`);
    return await startAndFollow("/lazy", firecrackerRequest(image, values), values);
  },
  exitCodeOf,
};

/** The command `migrate --criu`. */
export const MIGRATE_CRIU: Command = {
  synopsis: "--criu DIR [options]",
  about: [
    "Has the daemon serve the memory of one process tree that criu restore --lazy-pages restores, as lazy --criu " +
    "does: it ends when all of it is there.",
    FOLLOWED,
  ],
  options: TREE,
  exits: {
    [ExitCode.DONE]: "all memory of the processes is there; with --detach: it is listened",
    ...COMMON_EXITS,
    [ExitCode.FAILED]: "CRIU did not restore all processes, or the daemon failed",
  },
  async run(args) {
    const values = parseOptions(args, TREE);
    return await startAndFollow("/lazy", treeRequest(values), values);
  },
  exitCodeOf,
};
