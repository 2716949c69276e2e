/** `migrate IMAGE --to ADDRESS` and `migrate IMAGE --listen ADDRESS`: the daemon serves, or receives. */

import {
  type Options,
  type OptionValues,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { printLine, warnLine } from "../../migration/command/output.ts";
import type { SessionView } from "../service/session.ts";
import type { ApiClient } from "./api_client.ts";
import { ApiError, NoDaemonError } from "./api_error.ts";
import {
  DAEMON_OPTIONS,
  daemonClient,
  ExitCode,
  exitCodeOf,
  exitCodeOfSession,
  EXITS,
} from "./daemon_words.ts";
import { follow } from "./follow.ts";
import {
  RECEIVE_OPTIONS,
  receiveRequest,
  type RequestBody,
  SEND_OPTIONS,
  sendRequest,
} from "./migrate_options.ts";
import { endingOf } from "./session_text.ts";

/** How a session is asked for, whatever it does. */
export const FOLLOW_OPTIONS = {
  detach: {
    help:
      "print the session's name and leave; default: show how it goes to its end, and end as it does",
  },
  key: {
    value: "KEY",
    help:
      "of two calls with the same key the second starts nothing and tells of the session of the first, also " +
      "when the daemon was started anew in between: for scripts that try again",
  },
  json: {
    help:
      "print the session as one JSON object: with --detach when it has begun, else when it is over",
  },
  ...DAEMON_OPTIONS,
} as const satisfies Options;

const SEND = { ...SEND_OPTIONS, ...FOLLOW_OPTIONS } as const;
const RECEIVE = { ...RECEIVE_OPTIONS, ...FOLLOW_OPTIONS } as const;

/** What help says of it. */
export const FOLLOWED =
  "It is the daemon that does it: when this is left by Ctrl-C, or its terminal closes, the session goes on.";

/** The command `migrate --to`. */
export const MIGRATE_TO: Command = {
  synopsis: "IMAGE --to ADDRESS [options]",
  about: [
    "Has the daemon run the machine in IMAGE at a destination, as serve does: a QEMU that waits with -incoming, or " +
    "a destination of this project. IMAGE is a name that postcopy images lists.",
    FOLLOWED,
  ],
  options: SEND,
  exits: {
    [ExitCode.DONE]: "the destination has all of the machine; with --detach: it has begun",
    ...EXITS,
    [ExitCode.FAILED]: "the migration failed, or the daemon did",
    [ExitCode.BAD_IMAGE]: "the image cannot be used",
    [ExitCode.UNREACHABLE]: "the destination cannot be reached",
    [ExitCode.HANDED_OVER]: "refused: the machine may run at a destination already",
    [ExitCode.INTERRUPTED]: "left, or the migration was cancelled",
  },
  async run(args) {
    const { values, positionals } = parseCommand(args, SEND);
    return await startAndFollow(
      "/migrations",
      sendRequest(imageArgument(positionals), values),
      values,
    );
  },
  exitCodeOf,
};

/** The command `migrate --listen`. */
export const MIGRATE_LISTEN: Command = {
  synopsis: "IMAGE --listen ADDRESS [options]",
  about: [
    "Has the daemon receive a running QEMU's guest into an image of that name, as receive does: migrate " +
    "tcp:HOST:PORT there, with migrate_start_postcopy or without.",
    FOLLOWED,
  ],
  options: RECEIVE,
  exits: {
    [ExitCode.DONE]: "the image is complete; with --detach: it is listened",
    ...EXITS,
    [ExitCode.FAILED]: "the migration failed, or the image cannot be written, or the daemon failed",
    [ExitCode.UNREACHABLE]: "the address cannot be listened at",
    [ExitCode.INTERRUPTED]: "left, or the migration was cancelled",
  },
  async run(args) {
    const { values, positionals } = parseCommand(args, RECEIVE);
    return await startAndFollow(
      "/migrations",
      receiveRequest(imageArgument(positionals), values),
      values,
    );
  },
  exitCodeOf,
};

function imageArgument(positionals: readonly string[]): string {
  const [image, extra] = positionals;
  if (image === undefined) {
    throw new UsageError("No IMAGE given: postcopy images lists those that the daemon has");
  }
  if (extra !== undefined) throw new UsageError(`One IMAGE at a time: ${extra}`);
  return image;
}

/**
 * Has the daemon start a session, and tells what happens to it until it is over, unless that was not wanted.
 *
 * @param collection where it is posted
 * @returns the exit code
 */
export async function startAndFollow(
  collection: "/migrations" | "/lazy",
  body: RequestBody,
  values: OptionValues<typeof FOLLOW_OPTIONS>,
): Promise<number> {
  using client = daemonClient(values);
  const key = values.key ?? crypto.randomUUID();
  const begun = await start(client, collection, body, key);
  if (values.detach) {
    printLine(values.json ? JSON.stringify(begun) : begun.id);
    return ExitCode.DONE;
  }
  warnLine(`${begun.id}: ${begun.image}, ${begun.peer}`);
  const over = await follow(client, begun);
  if (values.json) printLine(JSON.stringify(over));
  else if (over.status === "completed") printLine(endingOf(over));
  else warnLine(`postcopy: ${endingOf(over)}`);
  return exitCodeOfSession(over);
}

/** Starts it; once more when the answer was lost, which the key makes safe. */
async function start(
  client: ApiClient,
  collection: string,
  body: RequestBody,
  key: string,
): Promise<SessionView> {
  const asking = { method: "POST", body, headers: { "idempotency-key": key } } as const;
  try {
    return await client.ask<SessionView>(collection, asking);
  } catch (error) {
    if (!(error instanceof NoDaemonError) || !isBroken(error)) throw error;
    return await client.ask<SessionView>(collection, asking);
  }
}

/** Whether the daemon may have heard: a connection there was. */
function isBroken(error: NoDaemonError): boolean {
  return !(error.cause instanceof ApiError) && !/os error (2|13|111)\b/.test(String(error.cause));
}
