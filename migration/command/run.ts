/** Running a command line: the same behaviour at every entry point. */

import { printLine, warnLine } from "./output.ts";
import { UsageError } from "./arguments.ts";
import type { Command, CommandEntry, CommandLine, LoadCommand } from "./command.ts";
import { commandHelp, overallHelp } from "./help.ts";
import { nearest } from "./nearest.ts";
import { denoProblem, VERSION } from "./version.ts";

// Not exit_code.ts: an entry point loads no more than it must, so that --version is quick.
const FAILED = 1;
const USAGE = 2;

/**
 * Runs the command that the first argument names.
 *
 * @returns the exit code
 * @throws what the command threw, when it is a mistake of the program
 */
export async function runCommandLine(line: CommandLine, args: readonly string[]): Promise<number> {
  const problem = denoProblem(Deno.version.deno);
  if (problem !== undefined) {
    warnLine(`postcopy: ${problem}`);
    return FAILED;
  }
  const [name, ...rest] = args;
  let command: Command | undefined;
  try {
    if (name === undefined) {
      warnLine(overallHelp(line));
      return USAGE;
    }
    if (["--version", "-V", "version"].includes(name)) {
      printLine(`postcopy ${VERSION}`);
      return 0;
    }
    if (["--help", "-h", "help"].includes(name)) {
      printLine(rest[0] === undefined ? overallHelp(line) : await helpOf(line, rest[0], []));
      return 0;
    }
    if (rest.some((word) => word === "--help" || word === "-h")) {
      printLine(await helpOf(line, name, rest));
      return 0;
    }
    command = await chosen(name, entryOf(line, name), rest);
    return await command.run(rest, line.program);
  } catch (thrown) {
    const error = firstError(thrown);
    const code = error instanceof UsageError
      ? USAGE
      : error instanceof Error
      ? command?.exitCodeOf(error)
      : undefined;
    if (code === undefined) throw error;
    warnLine(`postcopy: ${(error as Error).message}`);
    if (error instanceof UsageError) {
      const of = name !== undefined && Object.hasOwn(line.commands, name) ? ` ${name}` : "";
      warnLine(`postcopy: See: ${line.program} help${of}`);
    }
    return code;
  }
}

function entryOf({ commands }: CommandLine, name: string): CommandEntry {
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry !== undefined) return entry;
  const names = Object.keys(commands);
  const option = name.startsWith("-");
  const meant = nearest(name, option ? ["--help", "--version"] : [...names, "help", "version"]);
  const remedy = meant !== undefined
    ? `did you mean ${meant}?`
    : option
    ? "a command comes first"
    : `use ${names.join(", ")}`;
  throw new UsageError(`Unknown ${option ? "option" : "command"}: ${name}: ${remedy}`);
}

/** Those of several options that were given. */
function givenOf(options: readonly string[], args: readonly string[]): string[] {
  return options.filter((option) =>
    args.some((word) => word === `--${option}` || word.startsWith(`--${option}=`))
  );
}

async function chosen(
  name: string,
  { load }: CommandEntry,
  args: readonly string[],
): Promise<Command> {
  if (typeof load === "function") return await load();
  const options = Object.keys(load);
  const [option, other] = givenOf(options, args);
  if (option === undefined) {
    throw new UsageError(`No --${options.join(" or --")} given: it decides what ${name} does`);
  }
  if (other !== undefined) {
    throw new UsageError(`Both --${option} and --${other} given: leave out one of them`);
  }
  return await load[option]!();
}

/** The help of a command; of those of one name, which an option chooses among, one after the other. */
async function helpOf(
  line: CommandLine,
  name: string,
  args: readonly string[],
): Promise<string> {
  const { load } = entryOf(line, name);
  const commands = await Promise.all(helped(load, args).map((each) => each()));
  return commands.map((command) => commandHelp(line.program, name, command)).join("\n\n\n");
}

function helped(load: CommandEntry["load"], args: readonly string[]): LoadCommand[] {
  if (typeof load === "function") return [load];
  const given = givenOf(Object.keys(load), args);
  return given.length === 0 ? Object.values(load) : given.map((option) => load[option]!);
}

/** Returns what was thrown first, when ending things afterwards failed too. */
function firstError(thrown: unknown): unknown {
  let first = thrown;
  while (first instanceof SuppressedError) first = first.suppressed;
  return first;
}
