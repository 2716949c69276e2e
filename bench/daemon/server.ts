/**
 * Child process: a daemon, and what asks it for sessions; takes what bench/sessions/server.ts takes.
 *
 * Argument: the image. Each line in is a {@linkcode DaemonServerCommand}, each line out its answer. Ends with its
 * standard input, and the daemon with it.
 *
 * @module
 */

import { ApiClient } from "../../daemon/command/api_client.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { answerTries } from "../sessions/answers.ts";
import { within } from "../sessions/deadline.ts";
import type { Completed, Failures, Opened, ServerCommand } from "../sessions/server.ts";
import { IMAGE_NAME, RunningDaemon } from "./running_daemon.ts";

/** What it can be asked. */
export type DaemonServerCommand = ServerCommand | { readonly ask: "daemon" };

/** Answer to `daemon`. */
export interface DaemonPlace {
  /** Path of the socket. */
  readonly socket: string;
  readonly pid: number;
}

await using daemon = await RunningDaemon.start(Deno.args[0]!);
using client = new ApiClient({ address: { transport: "unix", path: daemon.socket } });
const ids: string[] = [];

async function open(
  { to, maxBandwidth }: Extract<ServerCommand, { ask: "open" }>,
): Promise<Opened> {
  const from = monotonicNanoseconds();
  const begun = await Promise.all(to.map((address) =>
    client.ask<SessionView>("/migrations", {
      method: "POST",
      body: {
        direction: "outgoing",
        image: IMAGE_NAME,
        to: formatSocketAddress(address),
        maxPostcopyBandwidth: maxBandwidth,
        order: "off",
      },
    })
  ));
  ids.push(...begun.map(({ id }) => id));
  return { from };
}

async function failures(): Promise<Failures> {
  const sessions = await Promise.all(
    ids.map((id) => client.ask<SessionView>(`/migrations/${id}`)),
  );
  return sessions.filter(({ status }) =>
    ["failed", "cancelled", "postcopy-paused"].includes(status)
  )
    .map(({ id, status, reason }) => `${id}: ${status}: ${reason}`);
}

async function completed(): Promise<Completed> {
  const sessions = await within(
    "sessions that complete",
    Promise.all(
      ids.map((id) => client.ask<SessionView>(`/migrations/${id}/wait?for=ended&timeout=600`)),
    ),
  );
  const bytes = sessions.map(({ statistics }) =>
    "ram" in statistics ? statistics.ram.transferred : 0
  );
  return { transferred: bytes.reduce((sum, each) => sum + each, 0) };
}

await answerTries(async (message) => {
  const command = message as DaemonServerCommand;
  switch (command.ask) {
    case "daemon":
      return { socket: daemon.socket, pid: daemon.pid } satisfies DaemonPlace;
    case "open":
      return await open(command);
    case "failures":
      return await failures();
    case "completed":
      return await completed();
  }
});
