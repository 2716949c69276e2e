/**
 * A live postcopy migration from QEMU to QEMU: the reference that our source is measured against.
 *
 * @module
 */
import type { WaitOptions } from "./event_log.ts";
import {
  listenForPostcopy,
  type MigrationInfo,
  type PostcopyOptions,
  queryMigrate,
  setCapabilities,
  setParameters,
  UNLIMITED_BANDWIDTH,
  waitForMigration,
} from "./migration.ts";
import type { Qemu } from "./qemu.ts";

/** What a destination reports of the faults that asked the source; QEMU 10.1 and later. */
export interface FaultLatency {
  /** Mean, ns. */
  readonly mean: number;
  /** Bin n counts the faults of [2^n, 2^(n+1)) us. */
  readonly buckets: readonly number[];
}

/** How a postcopy restore or migration went at its destination; times in ms. */
export interface DestinationStats {
  /** From the begin until the guest's processors ran. */
  readonly resumed: number;
  /** From the begin until the guest's first output; undefined when it printed nothing. */
  readonly firstOutput: number | undefined;
  /** From the begin until the destination had all memory. */
  readonly total: number;
  /** Undefined before QEMU 10.1. */
  readonly latency: FaultLatency | undefined;
  /** The destination's whole `query-migrate`. */
  readonly info: MigrationInfo;
}

/** How a live migration went. */
export interface LiveMigrateStats {
  readonly destination: DestinationStats;
  /** The source's whole `query-migrate`: "total-time", "downtime", "ram". */
  readonly source: MigrationInfo;
}

/** How a live migration is done. */
export interface LiveMigrateOptions extends PostcopyOptions {
  /** Bytes/s of the background stream after the switchover. Default 0, QEMU's own: no limit. */
  maxPostcopyBandwidth?: number;
  /**
   * Bytes/s before the switchover. Default no limit: then a small guest may be all copied before it
   * is told to switch.
   */
  maxBandwidth?: number;
}

/**
 * Moves a running guest from one QEMU to another by postcopy, with nothing copied before.
 *
 * The switchover is asked for as soon as the migration has begun, so that every page comes
 * afterwards, as it does when a server restores an image.
 *
 * @param source The QEMU where the guest runs.
 * @param destination A QEMU started with `incoming` on the same machine.
 * @param options How.
 * @returns Times and QEMU's statistics.
 * @throws {Error} When the migration fails.
 */
export async function liveMigrate(
  source: Qemu,
  destination: Qemu,
  options: LiveMigrateOptions = {},
): Promise<LiveMigrateStats> {
  const preempt = options.preempt ?? true;
  const port = await listenForPostcopy(destination, { preempt });
  await setCapabilities(source, { "postcopy-ram": true, "postcopy-preempt": preempt });
  await setParameters(source, {
    "max-bandwidth": options.maxBandwidth ?? UNLIMITED_BANDWIDTH,
    "max-postcopy-bandwidth": options.maxPostcopyBandwidth ?? 0,
  });
  const since = source.qmp.events.items.length;
  const begin = performance.now();
  const finished = destinationStats(destination, begin);
  finished.catch(() => {}); // the source's failure is reported first
  await source.execute("migrate", { uri: `tcp:127.0.0.1:${port}` });
  await source.execute("migrate-start-postcopy");
  await waitForMigration(source, ["completed"], { since });
  return { destination: await finished, source: await queryMigrate(source) };
}

/**
 * Waits for the end of an incoming postcopy migration and gathers what the destination says of it.
 *
 * @param destination A QEMU that listens (see {@linkcode listenForPostcopy}); call this before its
 * guest comes.
 * @param begin When the source began, on the clock of `performance.now()`.
 * @param options When to give up.
 * @returns The times since the begin, and QEMU's statistics.
 * @throws {Error} When the migration fails.
 */
export async function destinationStats(
  destination: Qemu,
  begin: number,
  options: WaitOptions = {},
): Promise<DestinationStats> {
  const waiting = { since: destination.qmp.events.items.length, ...options };
  const resumed = destination.qmp.waitForEvent("RESUME", undefined, waiting);
  const output = destination.serial.firstOutput(options).then(
    (at) => at - begin,
    () => undefined,
  );
  await waitForMigration(destination, ["completed"], waiting);
  const completed = performance.now();
  const info = await queryMigrate(destination);
  return {
    resumed: (await resumed).arrivedAt - begin,
    firstOutput: await output,
    total: completed - begin,
    latency: faultLatency(info),
    info,
  };
}

/** Takes the fault latency out of a destination's `query-migrate`; undefined before QEMU 10.1. */
export function faultLatency(info: MigrationInfo): FaultLatency | undefined {
  const mean = info["postcopy-latency"];
  const buckets = info["postcopy-latency-dist"];
  return mean === undefined || buckets === undefined ? undefined : { mean, buckets };
}
