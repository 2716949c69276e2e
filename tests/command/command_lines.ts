/** The entry points' commands, and running one as its user does. */

import { destinationCommands } from "../../client/command/commands.ts";
import { commandLine } from "../../main.ts";
import type { Command, Commands } from "../../migration/command/command.ts";
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
