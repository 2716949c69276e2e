/** What becomes of a destination whose source goes wrong. */

import { assertInstanceOf } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileSource } from "./scripted_source.ts";

/** Pages of the scripted source's one block. */
export const PAGES = 64;
/** What a destination says of a source that vanished. */
export const LOST: { readonly code: string; readonly message: RegExp } = {
  code: "CONNECTION_LOST",
  message: /^Source went away: main channel: /,
};

/** What a destination makes of a source. */
export interface Outcome {
  readonly status: string;
  readonly code: string | undefined;
  readonly message: string;
}

/** Starts a destination, lets a source act, and waits until the destination has failed or paused. */
export async function outcomeOf(
  act: (source: HostileSource) => Promise<void>,
  guest = new StillGuest(),
): Promise<Outcome> {
  await using destination = new Destination({ guest });
  const to = await destination.listen(LOOPBACK);
  using source = new HostileSource(to, { ram: PAGES });
  const failed = destination.finished.then(
    () => new Error("It completed"),
    (error) => error as Error,
  );
  const paused = destination.waitFor("postcopy-paused").then(
    () => destination.pauseReason!,
    (error) => error as Error,
  );
  await act(source);
  const error = await within("the destination to give up", Promise.race([failed, paused]));
  assertInstanceOf(error, Error);
  const { code } = error as { code?: string };
  return { status: destination.status, code, message: error.message };
}
