/** `top`: the sessions, live. */

import { countArgument, parseOptions, secondsArgument } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { onInterrupt } from "../../migration/command/interrupt.ts";
import { printLine } from "../../migration/command/output.ts";
import { formatCount, formatRate } from "../../migration/report/units.ts";
import type { ApiClient } from "./api_client.ts";
import { NoDaemonError } from "./api_error.ts";
import { DAEMON_OPTIONS, daemonClient, ExitCode, exitCodeOf, EXITS } from "./daemon_words.ts";
import { figuresOf } from "./session_figures.ts";
import { allSessions, isOver } from "./sessions.ts";
import { passed } from "./passed.ts";
import { Screen } from "./screen.ts";
import { type Seen, sessionTable } from "./session_table.ts";
import { standingLines } from "./session_text.ts";

const OPTIONS = {
  ...DAEMON_OPTIONS,
  interval: { value: "SECONDS", help: "between two looks; default 1" },
  count: {
    value: "N",
    help: "end after so many looks; default: at Ctrl-C, on a terminal at q too",
  },
} as const;

/** The command `top`. */
export const TOP: Command = {
  synopsis: "[options]",
  about: [
    "Shows the daemon's sessions, those that run first: where each stands, how many pages are left, faults and " +
    "bytes a second since the look before, and how long a request takes. On a terminal it is drawn over; elsewhere " +
    "each look is a line a session, with the time.",
  ],
  options: OPTIONS,
  exits: { [ExitCode.DONE]: "ended by a signal, or after so many looks", ...EXITS },
  run: topCommand,
  exitCodeOf,
};

async function topCommand(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, OPTIONS);
  const interval = values.interval === undefined
    ? 1000
    : secondsArgument("interval", values.interval);
  const count = values.count === undefined ? Infinity : countArgument("count", values.count);
  using client = daemonClient(values);
  const abort = new AbortController();
  using stack = new DisposableStack();
  stack.use(onInterrupt(() => abort.abort()));
  let before = await look(client, abort.signal);
  const show = Deno.stdout.isTerminal() ? onScreen(stack, abort) : onLines();
  show(before, undefined);
  for (let looks = 1; looks < count && await passed(interval, abort.signal); looks++) {
    try {
      const seen = await look(client, abort.signal);
      show(seen, before);
      before = seen;
    } catch (error) {
      if (abort.signal.aborted) break;
      // One that is started anew is seen again.
      if (!(error instanceof NoDaemonError) || !Deno.stdout.isTerminal()) throw error;
      show({ at: performance.now(), sessions: [] }, undefined, error.message);
    }
  }
  return ExitCode.DONE;
}

/** Shows what was seen. */
type Show = (seen: Seen, before: Seen | undefined, trouble?: string) => void;

async function look(client: ApiClient, signal: AbortSignal): Promise<Seen> {
  const sessions = await allSessions(client, { signal });
  const running = sessions.filter((session) => !isOver(session));
  return { at: performance.now(), sessions: [...running, ...sessions.filter(isOver)] };
}

/** Prints a line a session, with the time; the heading once. */
function onLines(): Show {
  let headed = false;
  return (seen, before) => {
    const time = new Date().toISOString();
    const [header = "", ...lines] = sessionTable(seen, before);
    if (!headed) printLine(`${"TIME".padEnd(time.length)}  ${header}`);
    headed = true;
    for (const line of lines) printLine(`${time}  ${line}`);
  };
}

/** Draws on the terminal, until the stack is disposed of. */
function onScreen(
  stack: DisposableStack,
  abort: AbortController,
): Show {
  const screen = stack.use(Screen.onTerminal());
  endAtKey(stack, abort);
  return (seen, before, trouble) => screen.draw(screenLines(seen, before, trouble, screen.columns));
}

/**
 * What the screen shows: a line of sums, the table, and why sessions do not go on.
 *
 * @param columns that the table may have, if it can be
 */
export function screenLines(
  seen: Seen,
  before: Seen | undefined,
  trouble: string | undefined,
  columns?: number,
): string[] {
  if (trouble !== undefined) return ["postcopy top", "", trouble];
  const running = seen.sessions.filter((session) => !isOver(session));
  const left = running.reduce((all, each) => all + (figuresOf(each).left ?? 0), 0);
  const paused = running.filter(({ status }) => status === "postcopy-paused");
  return [
    [
      `postcopy top: ${running.length} running, ${paused.length} paused, ` +
      `${seen.sessions.length - running.length} ended`,
      `${formatCount(Math.round(left))} pages left`,
      ...before === undefined ? [] : [formatRate(rateSince(seen, before))],
    ].join(", "),
    "",
    ...sessionTable(seen, before, columns),
    ...paused.flatMap((session) => ["", session.id, ...standingLines(session)]),
    "",
    "q ends this, and nothing else",
  ];
}

/** Bytes a second of all sessions that there were before. */
function rateSince(seen: Seen, before: Seen): number {
  const seconds = (seen.at - before.at) / 1000;
  const moved = seen.sessions.reduce((all, session) => {
    const earlier = before.sessions.find(({ id }) => id === session.id);
    return earlier === undefined ? all : all + figuresOf(session).bytes - figuresOf(earlier).bytes;
  }, 0);
  return seconds <= 0 ? 0 : Math.max(0, moved / seconds);
}

/** Ends it at a q; Ctrl-C stays a signal. */
function endAtKey(stack: DisposableStack, abort: AbortController): void {
  if (!Deno.stdin.isTerminal()) return;
  Deno.stdin.setRaw(true, { cbreak: true });
  stack.defer(() => Deno.stdin.setRaw(false));
  const keys = new Uint8Array(16);
  const listen = async (): Promise<void> => {
    while (!abort.signal.aborted) {
      const count = await Deno.stdin.read(keys);
      if (count === null) return;
      if (keys.subarray(0, count).includes("q".charCodeAt(0))) abort.abort();
    }
  };
  listen().catch(() => {}); // the terminal is gone, which a signal says
}
