/** `events`: what happens in the daemon, as it happens. */

import { parseOptions } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onInterrupt } from "../../migration/command/interrupt.ts";
import { printLine, warnLine } from "../../migration/command/output.ts";
import { DAEMON_OPTIONS, daemonClient, ExitCode, exitCodeOf, EXITS } from "./daemon_words.ts";
import { eventText } from "./event_text.ts";

const OPTIONS = {
  ...DAEMON_OPTIONS,
  after: {
    value: "ID",
    help:
      "begin behind this event, which was seen before: those since then come first, as far as the daemon has " +
      "them; 0: with all that it has",
  },
  json: { help: "print JSON objects, one a line, each with its id" },
} as const;

/** The command `events`. */
export const EVENTS: Command = {
  synopsis: "[--after ID] [options]",
  about: [
    "Prints what happens in the daemon, a line each, until Ctrl-C: sessions that begin, pause, go on and end, and " +
    "what is to be known of them.",
    "A daemon that ends ends it too; with --after and the last id nothing is missed at its next start.",
  ],
  options: OPTIONS,
  exits: { [ExitCode.DONE]: "ended by a signal", ...EXITS },
  run: eventsCommand,
  exitCodeOf,
};

async function eventsCommand(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, OPTIONS);
  using client = daemonClient(values);
  const abort = new AbortController();
  using _interrupt = onInterrupt(() => abort.abort());
  try {
    for await (const { id, event, data } of client.events(abort.signal, values.after)) {
      const what = JSON.parse(data) as Record<string, unknown>;
      if (values.json) {
        printLine(JSON.stringify({ ...id === undefined ? {} : { id }, event, ...what }));
      } else printLine(eventText(event, what));
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  }
  if (abort.signal.aborted) return ExitCode.DONE;
  warnLine("postcopy: The daemon has ended the stream of its events: it ends, or was started anew");
  return ExitCode.FAILED;
}
