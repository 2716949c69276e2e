/** `pause`, `recover`, `limit` and `cancel`: what is done with one session. */

import { bytesArgument, parseCommand, UsageError } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { printLine } from "../../migration/command/output.ts";
import { OUTGOING_OPTIONS } from "../../server/command/outgoing_arguments.ts";
import type { SessionView } from "../service/session.ts";
import type { ApiClient } from "./api_client.ts";
import { ApiError } from "./api_error.ts";
import { DAEMON_OPTIONS, daemonClient, ExitCode, exitCodeOf, EXITS } from "./daemon_words.ts";
import { chosenSession, isOver, migrationPath, sessionPath } from "./sessions.ts";
import { standingLines } from "./session_text.ts";

const JSON_OPTION = { json: { help: "print the session as JSON" } } as const;
const WHICH =
  "SESSION is its name, or enough of its beginning; it may be left out when there is only one that could be meant.";

const PAUSE_OPTIONS = { ...DAEMON_OPTIONS, ...JSON_OPTION } as const;

/** The command `pause`. */
export const PAUSE: Command = {
  synopsis: "[SESSION] [options]",
  about: [
    "Breaks the connection of a migration in postcopy, as migrate-pause of QEMU does. Nothing is lost: its guest " +
    "waits when it touches what it lacks, until recover.",
    WHICH,
  ],
  options: PAUSE_OPTIONS,
  exits: { [ExitCode.DONE]: "it is paused", ...EXITS },
  async run(args) {
    const { values, positionals } = parseCommand(args, PAUSE_OPTIONS);
    using client = daemonClient(values);
    const session = await chosenSession(
      client,
      positionals,
      "pause",
      ({ status }) => status === "postcopy-active",
    );
    const paused = await client.ask<SessionView>(`${migrationPath(session)}/pause`, {
      method: "POST",
    });
    tell(paused, values.json, "is paused");
    return ExitCode.DONE;
  },
  exitCodeOf,
};

const RECOVER_OPTIONS = {
  ...DAEMON_OPTIONS,
  to: {
    value: "ADDRESS",
    help:
      "where the destination listens now (migrate_recover there), when that is another address; of one " +
      "that is received: where to listen too",
  },
  ...JSON_OPTION,
} as const;

/** The command `recover`. */
export const RECOVER: Command = {
  synopsis: "[SESSION] [--to ADDRESS] [options]",
  about: [
    "Has a paused migration go on: the destination says which pages it has, and gets all others. A migration that " +
    "broke connects again by itself; this is for one that was paused, and for a destination that listens " +
    "elsewhere.",
    WHICH,
  ],
  options: RECOVER_OPTIONS,
  exits: { [ExitCode.DONE]: "it tries to connect, or has", ...EXITS },
  async run(args) {
    const { values, positionals } = parseCommand(args, RECOVER_OPTIONS);
    using client = daemonClient(values);
    const session = await chosenSession(
      client,
      positionals,
      "recover",
      ({ status }) => status === "postcopy-paused",
    );
    const going = await client.ask<SessionView>(`${migrationPath(session)}/recover`, {
      method: "POST",
      body: values.to === undefined ? {} : { to: values.to },
    });
    tell(going, values.json, "goes on");
    return ExitCode.DONE;
  },
  exitCodeOf,
};

const LIMIT_OPTIONS = {
  ...DAEMON_OPTIONS,
  "max-postcopy-bandwidth": OUTGOING_OPTIONS["max-postcopy-bandwidth"],
  ...JSON_OPTION,
} as const;

/** The command `limit`. */
export const LIMIT: Command = {
  synopsis: "[SESSION] --max-postcopy-bandwidth BYTES [options]",
  about: ["Changes how fast the background stream of a migration may be, while it runs.", WHICH],
  options: LIMIT_OPTIONS,
  exits: { [ExitCode.DONE]: "it holds from now on", ...EXITS },
  async run(args) {
    const { values, positionals } = parseCommand(args, LIMIT_OPTIONS);
    const bandwidth = values["max-postcopy-bandwidth"];
    if (bandwidth === undefined) {
      throw new UsageError("No limit given: say how much with --max-postcopy-bandwidth BYTES");
    }
    const body = { maxPostcopyBandwidth: bytesArgument("max-postcopy-bandwidth", bandwidth) };
    using client = daemonClient(values);
    const session = await chosenSession(
      client,
      positionals,
      "limit",
      (each) => each.direction === "outgoing" && !isOver(each),
    );
    const path = migrationPath(session);
    tell(await client.ask(path, { method: "PATCH", body }), values.json, "has another limit");
    return ExitCode.DONE;
  },
  exitCodeOf,
};

const CANCEL_OPTIONS = {
  ...DAEMON_OPTIONS,
  force: {
    help:
      "end it although a guest would be lost, or stand still: after cancel without this has said what is at " +
      "stake",
  },
  ...JSON_OPTION,
} as const;

/** The command `cancel`. */
export const CANCEL: Command = {
  synopsis: "[SESSION] [--force] [options]",
  about: [
    "Ends a session. While its guest may run elsewhere and lacks pages that only this sends, that is refused, and " +
    "it is said what is at stake.",
    WHICH,
  ],
  options: CANCEL_OPTIONS,
  exits: {
    [ExitCode.DONE]: "it has ended",
    ...EXITS,
    [ExitCode.FAILED]: "refused, or the daemon failed",
  },
  async run(args) {
    const { values, positionals } = parseCommand(args, CANCEL_OPTIONS);
    using client = daemonClient(values);
    const session = await chosenSession(client, positionals, "cancel", (each) => !isOver(each));
    try {
      await cancel(client, session, values.force ?? false, values.json);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "GUEST_AT_STAKE") throw error;
      throw new ApiError({
        status: error.status,
        code: error.code,
        detail: `${error.message}: postcopy cancel ${session.id} --force`,
      });
    }
    return ExitCode.DONE;
  },
  exitCodeOf,
};

async function cancel(
  client: ApiClient,
  session: SessionView,
  force: boolean,
  json: boolean | undefined,
): Promise<void> {
  const path = `${sessionPath(session)}/cancel`;
  tell(await client.ask(path, { method: "POST", body: { force } }), json, "has ended");
}

function tell(session: SessionView, json: boolean | undefined, what: string): void {
  if (json) return printLine(JSON.stringify(session));
  printLine([`${session.id} ${what}: ${session.status}`, ...standingLines(session)].join("\n"));
}
