/** `status [SESSION]`: what the daemon does. */

import { parseCommand } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { printLine } from "../../migration/command/output.ts";
import { DAEMON_OPTIONS, daemonClient, ExitCode, exitCodeOf, EXITS } from "./daemon_words.ts";
import type { SessionView } from "../service/session.ts";
import { fitted, terminalSize } from "./screen.ts";
import { allSessions, chosenSession } from "./sessions.ts";
import { sessionTable } from "./session_table.ts";
import { sessionLines } from "./session_text.ts";

const OPTIONS = {
  ...DAEMON_OPTIONS,
  json: { help: "print what the daemon answers, as JSON" },
} as const;

/** The command `status`. */
export const STATUS: Command = {
  synopsis: "[SESSION] [options]",
  about: [
    "Shows the sessions of the daemon: how far each is, how fast, and how long who asks for a page waits. Of one " +
    "that is named (the beginning of its name will do) all that is known: why it is paused, and what to do.",
    "Of a session that has ended the last figures stay to be asked for until the daemon forgets it.",
  ],
  options: OPTIONS,
  exits: { [ExitCode.DONE]: "shown", ...EXITS },
  run: statusCommand,
  exitCodeOf,
};

async function statusCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, OPTIONS);
  using client = daemonClient(values);
  if (positionals.length > 0) {
    const session = await chosenSession(client, positionals, "show", () => false);
    printLine(values.json ? JSON.stringify(session) : sessionLines(session).join("\n"));
    return ExitCode.DONE;
  }
  const sessions = await allSessions(client);
  if (values.json) printLine(JSON.stringify(sessions));
  else if (sessions.length === 0) printLine("No sessions: postcopy migrate begins one");
  else printLine(tableLines(sessions).join("\n"));
  return ExitCode.DONE;
}

/** The table: all of it for whoever reads it from a pipe, a line a session for who looks at a terminal. */
function tableLines(sessions: readonly SessionView[]): string[] {
  const seen = { at: performance.now(), sessions };
  if (!Deno.stdout.isTerminal()) return sessionTable(seen);
  const { columns } = terminalSize();
  return fitted(sessionTable(seen, undefined, columns), { columns, rows: Infinity });
}
