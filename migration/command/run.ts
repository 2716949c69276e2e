// deno-lint-ignore-file no-console -- a command
/** Running a command line: the same behaviour on both sides. */

import { UsageError } from "./arguments.ts";

/** What a command line offers. */
export interface CommandLine {
  /** What `--help` prints. */
  readonly usage: string;
  /** The commands by name; each returns its exit code. */
  readonly commands: Readonly<Record<string, (args: readonly string[]) => Promise<number>>>;
  /** Exit code for wrong usage. */
  readonly usageCode: number;
  /** Exit code for an error whose message is for the user; undefined for a mistake of the program. */
  readonly exitCodeOf: (error: Error) => number | undefined;
}

/**
 * Runs the command that the first argument names.
 *
 * @returns the exit code
 * @throws what the command threw, when it is a mistake of the program
 */
export async function runCommandLine(line: CommandLine, args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || ["--help", "-h", "help"].includes(name) || rest.includes("--help")) {
    console.log(line.usage);
    return name === undefined ? line.usageCode : 0;
  }
  try {
    const command = Object.hasOwn(line.commands, name) ? line.commands[name] : undefined;
    if (command === undefined) {
      const known = Object.keys(line.commands).join(", ");
      throw new UsageError(`Unknown command: ${name}: use ${known}`);
    }
    return await command(rest);
  } catch (thrown) {
    const error = firstError(thrown);
    const code = error instanceof Error ? line.exitCodeOf(error) : undefined;
    if (code === undefined) throw error;
    console.error(`postcopy: ${(error as Error).message}`);
    if (error instanceof UsageError) console.error("postcopy: --help lists what there is");
    return code;
  }
}

/** Returns what was thrown first, when ending things afterwards failed too. */
function firstError(thrown: unknown): unknown {
  let first = thrown;
  while (first instanceof SuppressedError) first = first.suppressed;
  return first;
}
