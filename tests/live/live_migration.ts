/** A live migration from end to end in this process. */

import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import type { DestinationStatistics } from "../../client/statistics.ts";
import { type Backing, viewMemory } from "../../ffi/memory.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assertSameMemory, WritingGuest, type WritingGuestOptions } from "./writing_guest.ts";
import { type Writes, writingPrecopy } from "./writing_precopy.ts";

const MIB = 1 << 20;

/** What migrates, and how. */
export interface LiveMigrationOptions extends Omit<LiveSourceOptions, "to">, WritingGuestOptions {
  /** Bytes of the guest's memory, in two blocks; default 16 MiB. */
  readonly size?: number;
  /** Backing at the destination. */
  readonly backing?: Backing;
  /** What is written in a round for certain, whatever the guest's threads do; default nothing. */
  readonly writes?: Writes;
  /** Puts something between the ends; returns what the source needs to reach it. */
  readonly through?: (to: SocketAddress) => Promise<Pick<LiveSourceOptions, "to" | "tls">>;
  /** Called once the migration runs. */
  readonly during?: (source: LiveSource, guest: WritingGuest) => void | Promise<void>;
}

/** How it went. */
export interface LiveMigrated {
  readonly source: LiveStatistics;
  readonly destination: DestinationStatistics;
  readonly guest: WritingGuest;
}

/** Fills a region with data, zero pages and pages that were never touched. */
export function fillRegion(region: LiveRegion): void {
  for (const { address, length } of region.blocks) {
    const words = new Int32Array(viewMemory(address, length).buffer);
    for (let page = 0; page < length / 4096; page++) {
      if (page % 5 === 0 || page % 64 > 48) continue; // never touched
      if (page % 7 === 0) words[page * 1024] = 0; // touched, zero
      else words.fill(Math.imul(page + 1, 0x9e37_79b1) | 1, page * 1024, (page + 1) * 1024);
    }
  }
}

/** Makes a region of two blocks. */
export function twoBlocks(size = 16 * MIB): LiveRegion {
  const region = new LiveRegion({
    blocks: [{ name: "low", length: size / 4 }, { name: "high", length: size * 3 / 4 }],
  });
  fillRegion(region);
  return region;
}

/** Migrates a writing guest to a destination where nothing writes, and compares every byte. */
export async function migrateLive(options: LiveMigrationOptions = {}): Promise<LiveMigrated> {
  const { size, backing, during, threads, burst, writes, through, ...how } = options;
  using region = twoBlocks(size);
  await using guest = new WritingGuest(region.blocks, {
    ...threads === undefined ? {} : { threads },
    ...burst === undefined ? {} : { burst },
  });
  const arrived = new StillGuest();
  await using destination = new Destination({
    guest: arrived,
    ...backing === undefined ? {} : { backing },
    ...how.multifd === undefined ? {} : { multifdChannels: how.multifd.channels },
  });
  const to = await destination.listen(LOOPBACK);
  const reached = await through?.(to) ?? { to };
  const thread = writes === undefined ? undefined : writingPrecopy(writes);
  await using source = new LiveSource(region, guest, { ...how, ...reached }, thread);
  const run = source.run();
  run.catch(() => {});
  await during?.(source, guest);
  try {
    await within("both ends to complete", Promise.all([run, destination.finished]));
  } catch (cause) {
    const figures = JSON.stringify([source.statistics(), destination.statistics()]);
    const why = destination.pauseReason?.message ?? "";
    throw new Error(`${(cause as Error).message}: ${why}: ${figures}`, { cause });
  }
  assertEquals(guest.calls, ["stop", "save"]);
  assertEquals(arrived.calls, ["load", "start"]);
  assertEquals(arrived.deviceState, guest.state);
  assertSameMemory(arrived.blocks, guest.snapshot);
  return { source: await run, destination: destination.statistics(), guest };
}
