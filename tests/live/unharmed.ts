/** A live migration that fails: the guest goes on at the source, unharmed, and can be migrated again. */

import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { Guest } from "../../migration/guest.ts";
import type { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { twoBlocks } from "./live_migration.ts";
import { assertSameMemory, WritingGuest } from "./writing_guest.ts";
import { type Writes, writingPrecopy } from "./writing_precopy.ts";

/** What a test of a failure works with. */
export interface Attempt {
  readonly source: LiveSource;
  readonly guest: WritingGuest;
  /** Undefined when `to` was given. */
  readonly destination: Destination | undefined;
  readonly arriving: Guest;
}

/** How an attempt is made, and how it must end. */
export interface FailingMigration extends Omit<LiveSourceOptions, "to"> {
  /** The guest at the destination; default a still one. */
  readonly arriving?: Guest;
  /** Where to migrate instead. */
  readonly to?: SocketAddress;
  /** See {@linkcode WritingGuest}; default 20. */
  readonly burst?: number;
  /** What is written in a round for certain, whatever the guest's threads do; default nothing. */
  readonly writes?: Writes;
  /** Prepares before the source runs. */
  readonly before?: (attempt: Attempt) => void;
  /** What makes it fail. */
  readonly act: (attempt: Attempt) => void | Promise<void>;
  /** What `run` rejects with. */
  readonly code: string;
  readonly message: RegExp;
  /** What the guest was told. */
  readonly calls: readonly string[];
  /** Default `"failed"`. */
  readonly status?: string;
}

/** Makes an attempt, sees it fail, sees the guest go on, and migrates it to another destination. */
export async function assertGoesOn(
  {
    arriving = new StillGuest(),
    to,
    before,
    act,
    code,
    message,
    calls,
    status,
    burst = 20,
    writes,
    ...how
  }: FailingMigration,
): Promise<void> {
  using region = twoBlocks();
  await using guest = new WritingGuest(region.blocks, { burst });
  await using destination = to === undefined ? new Destination({ guest: arriving }) : undefined;
  {
    const address = to ?? await destination!.listen(LOOPBACK);
    const thread = writes === undefined ? undefined : writingPrecopy(writes);
    await using source = new LiveSource(region, guest, { ...how, to: address }, thread);
    const attempt = { source, guest, destination, arriving };
    before?.(attempt);
    const outcome = source.run().then(() => undefined, (error) => error);
    await act(attempt);
    const error = await within("the source to fail", outcome);
    assertEquals(error?.code, code, `${error?.stack}`);
    assertMatch(error.message, message);
    assertEquals(source.status, status ?? "failed");
    assertEquals(guest.calls, calls);
  }
  const written = guest.writes;
  await until("the guest writes again", () => guest.writes > written + 1000);
  guest.hold = () => {};
  await migrateAgain(region, guest);
}

/** Migrates to a fresh destination and compares every byte. */
async function migrateAgain(region: LiveRegion, guest: WritingGuest): Promise<void> {
  const arrived = new StillGuest();
  await using destination = new Destination({ guest: arrived });
  await using source = new LiveSource(region, guest, {
    to: await destination.listen(LOOPBACK),
    postcopy: 1,
    downtimeLimit: 0,
  });
  await within("the next attempt", Promise.all([source.run(), destination.finished]));
  assertEquals(guest.calls.slice(-2), ["stop", "save"]);
  assertEquals(arrived.deviceState, guest.state);
  assertSameMemory(arrived.blocks, guest.snapshot);
}
