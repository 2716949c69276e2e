/** Sessions as the words ask for them. */

import { UsageError } from "../../migration/command/arguments.ts";
import type { SessionView } from "../service/session.ts";
import type { ApiClient, Asking } from "./api_client.ts";

/** Whether a session is over. */
export function isOver({ status }: SessionView): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** All sessions, migrations first, the oldest of each first. */
export async function allSessions(
  client: ApiClient,
  asking: Asking = {},
): Promise<readonly SessionView[]> {
  const [migrations, lazy] = await Promise.all([
    client.ask<{ readonly migrations: readonly SessionView[] }>("/migrations", asking),
    client.ask<{ readonly lazy: readonly SessionView[] }>("/lazy", asking),
  ]);
  return [...migrations.migrations, ...lazy.lazy];
}

/** The path of what only migrations can do: of another session the daemon says what it is. */
export function migrationPath({ id }: Pick<SessionView, "id">): string {
  return sessionPath({ id, direction: "outgoing" });
}

/** The path of a session. */
export function sessionPath({ id, direction }: Pick<SessionView, "id" | "direction">): string {
  return `${direction === "lazy" ? "/lazy" : "/migrations"}/${encodeURIComponent(id)}`;
}

/**
 * The session that the user means: by its id, by enough of its beginning, or the only one that it can be.
 *
 * @param positionals what the user wrote beside options
 * @param doing what is to be done, as `"pause"`
 * @param may whether it could be this one, when none is named
 * @throws {UsageError} when none or several could be meant
 */
export async function chosenSession(
  client: ApiClient,
  positionals: readonly string[],
  doing: string,
  may: (session: SessionView) => boolean,
): Promise<SessionView> {
  const [named, extra] = positionals;
  if (extra !== undefined) throw new UsageError(`One session at a time: ${extra}`);
  const sessions = await allSessions(client);
  if (named === undefined) {
    const found = sessions.filter(may);
    if (found.length === 1) return found[0]!;
    throw new UsageError(
      found.length === 0
        ? `No session to ${doing}: postcopy status shows those that there are`
        : `Several sessions to ${doing}: name one: ${found.map(({ id }) => id).join(", ")}`,
    );
  }
  const exact = sessions.find(({ id }) => id === named);
  if (exact !== undefined) return exact;
  const found = sessions.filter(({ id }) => id.startsWith(named));
  if (found.length === 1) return found[0]!;
  throw new UsageError(
    found.length === 0
      ? `No session of that name: ${named}: postcopy status shows those that there are`
      : `Several sessions of that name: ${named}: write more of it: ${
        found.map(({ id }) => id).join(", ")
      }`,
  );
}
