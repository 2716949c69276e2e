// deno-lint-ignore-file no-console -- it keeps what a command prints
/** The entry points' commands, and running one as its user does. */

import { destinationCommands } from "../../client/command/commands.ts";
import { commandLine } from "../../main.ts";
import type { Command, Commands } from "../../migration/command/command.ts";
import { runCommandLine } from "../../migration/command/run.ts";
import { sourceCommands } from "../../server/command/commands.ts";

/** The commands of each entry point. */
export const ENTRY_POINTS: Readonly<Record<string, Commands>> = {
  "main.ts": commandLine.commands,
  "server/main.ts": sourceCommands,
  "client/main.ts": destinationCommands,
};

/** Loads all commands of a name. */
export async function load(commands: Commands, name: string): Promise<Command[]> {
  const { load } = commands[name]!;
  if (typeof load === "function") return [await load()];
  return await Promise.all(Object.values(load).map((each) => each()));
}

/** What a command printed. */
export interface Printed {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/**
 * Runs an entry point's command in this process, one at a time: for what it refuses, or is done with at once. A
 * process of its own takes longer to begin.
 */
export async function runHere(entryPoint: string, ...args: string[]): Promise<Printed> {
  const commands = ENTRY_POINTS[entryPoint]!;
  const program = entryPoint === "main.ts" ? commandLine.program : `deno run -A ${entryPoint}`;
  let [output, errors] = ["", ""];
  const { log, error } = console;
  console.log = (text: string) => void (output += `${text}\n`);
  console.error = (text: string) => void (errors += `${text}\n`);
  try {
    const code = await runCommandLine({ program, about: "", commands }, args);
    return { code, output, errors };
  } finally {
    Object.assign(console, { log, error });
  }
}

/** Runs an entry point in a process of its own. */
export async function run(entryPoint: string, ...args: string[]): Promise<Printed> {
  const path = new URL(`../../${entryPoint}`, import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", path, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, output: text(stdout), errors: text(stderr) };
}
