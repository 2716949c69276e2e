/** A migration from end to end in this process. */

import { assertEquals } from "@std/assert";
import { Destination, type DestinationOptions } from "../../client/destination.ts";
import type { DestinationStatistics } from "../../client/statistics.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import { until, within } from "./deadline.ts";

/** Any port of the loopback. */
export const LOOPBACK: SocketAddress = { transport: "tcp", host: "127.0.0.1", port: 0 };

/**
 * Waits until the guest runs at the destination and the source has heard of it. To one that has not, a break
 * is no pause yet: the destination may have refused the guest.
 */
export async function runsThere(source: Source, destination: Destination): Promise<void> {
  await within("the guest to run", destination.waitFor("postcopy-active"));
  await until("the source to hear of it", () => {
    const { status, "time-to-run": timeToRun } = source.statistics();
    return status === "postcopy-active" && timeToRun !== undefined;
  });
}

/** How to migrate. */
export interface MigrateOptions
  extends Omit<SourceOptions, "to" | "tls">, Omit<DestinationOptions, "tls"> {
  /** TLS of both ends; default none. */
  readonly encryption?: Encryption;
  /** Where the destination listens; default any port of the loopback. */
  readonly at?: SocketAddress;
}

/** What each end is given for TLS. */
export interface Encryption {
  readonly source: NonNullable<SourceOptions["tls"]>;
  readonly destination: NonNullable<DestinationOptions["tls"]>;
}

/** How it went. */
export interface Migrated {
  readonly source: SourceStatistics;
  readonly destination: DestinationStatistics;
}

/**
 * Migrates an image to a destination, and calls `check` while the memory is still there.
 *
 * @param path the image
 */
export async function migrate(
  path: string,
  options: MigrateOptions,
  check: (migrated: Migrated) => void | Promise<void>,
): Promise<void> {
  const { encryption } = options;
  await using destination = new Destination({ ...options, ...tlsOf(encryption?.destination) });
  const to = await destination.listen(options.at ?? LOOPBACK);
  using image = await openImage(path);
  await using source = new Source(image, { ...options, ...tlsOf(encryption?.source), to });
  const failed = destination.finished.then(() => "", (error) => `; destination: ${error.message}`);
  const run = source.run().catch(async (cause) => {
    throw new Error(`Source: ${cause.message}${await failed}`, { cause });
  });
  try {
    await within("both ends to complete", Promise.all([run, destination.finished]));
  } catch (cause) {
    const figures = JSON.stringify([source.statistics(), destination.statistics()]);
    throw new Error(`${(cause as Error).message}: ${figures}`, { cause });
  }
  const sent = await run;
  await check({ source: sent, destination: destination.statistics() });
}

function tlsOf<T>(tls: T | undefined): { tls?: T } {
  return tls === undefined ? {} : { tls };
}

/** What holds of every migration that completed, whatever its mode. */
export function assertEachPageOnce({ source, destination }: Migrated): void {
  assertEquals(source.status, "completed");
  assertEquals(destination.status, "completed");
  assertEquals(source.ram.remaining, 0);
  const { ram, compression } = source;
  assertEquals(ram.normal + ram.duplicate + (compression?.pages ?? 0), destination.pages);
  assertEquals(destination.received, destination.pages);
  assertEquals(destination.duplicates, 0);
  assertEquals(source.ram["postcopy-requests"], destination.requests);
}
