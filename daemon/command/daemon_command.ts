/** `postcopy daemon`. */

import { type Options, parseOptions } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { CommonExitCode, commonExitCodeOf } from "../../migration/command/exit_code.ts";
import { printLine } from "../../migration/command/output.ts";
import { ConfigError } from "../config/config_error.ts";
import { loadDaemon } from "../life/load_daemon.ts";
import { DaemonError } from "../service/daemon_error.ts";

/** Where the configuration is, if nothing else is said. */
const CONFIG = "/etc/postcopy/daemon.toml";

const ExitCode = { ...CommonExitCode, BAD_CONFIG: 3 } as const;

/** What the system says of a directory that cannot be written, or an address that is taken. */
const CANNOT_BEGIN = [
  Deno.errors.PermissionDenied,
  Deno.errors.NotFound,
  Deno.errors.AddrInUse,
  Deno.errors.AddrNotAvailable,
] as const;

const OPTIONS = {
  config: { value: "FILE", help: `the configuration, TOML or (FILE.json) JSON; default ${CONFIG}` },
  check: {
    help:
      "only say whether it could start: the configuration, its group, files and directories; as the user that it " +
      "runs as",
  },
} as const satisfies Options;

/** The command `daemon`. */
export const DAEMON: Command = {
  synopsis: "[options]",
  about: [
    "Runs migrations and lazy sessions for whoever asks: people by postcopy migrate, status, recover and so " +
    "on, programs by HTTP at a unix socket, and by TCP where the configuration says so.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "ended, and no guest needed it",
    [ExitCode.FAILED]:
      "it cannot listen, keep its state, or load its packages; or what the configuration names is not there",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.BAD_CONFIG]: "the configuration cannot be used",
    [ExitCode.INTERRUPTED]:
      "ended by Ctrl-C although guests need it: its next start goes on with them",
  },
  run: daemonCommand,
  exitCodeOf,
};

function exitCodeOf(error: Error): number | undefined {
  if (error instanceof ConfigError) return ExitCode.BAD_CONFIG;
  const cannotBegin = error instanceof DaemonError ||
    CANNOT_BEGIN.some((each) => error instanceof each);
  return cannotBegin ? ExitCode.FAILED : commonExitCodeOf(error);
}

/**
 * Runs the daemon until it is told to end, and no guest needs it any more.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ConfigError} for a configuration that cannot be used
 * @throws {DaemonError} when it cannot begin
 */
export async function daemonCommand(args: readonly string[]): Promise<number> {
  const { config: path = CONFIG, check = false } = parseOptions(args, OPTIONS);
  const daemon = await loadDaemon();
  if (check) {
    for (const note of await daemon.check(path)) printLine(`Note: ${note}`);
    printLine(`Configuration can be used: ${path}`);
    return ExitCode.DONE;
  }
  return await daemon.run(path) === "drained" ? ExitCode.DONE : ExitCode.INTERRUPTED;
}
