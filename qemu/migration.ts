/**
 * Steps of a migration, in QEMU's own words, over QMP.
 *
 * @module
 */
import type { WaitOptions } from "./event_log.ts";
import type { Qemu } from "./qemu.ts";

/** States of a migration (QEMU's qapi/migration.json, MigrationStatus). */
export type MigrationStatus =
  | "none"
  | "setup"
  | "active"
  | "postcopy-active"
  | "postcopy-paused"
  | "postcopy-recover"
  | "completed"
  | "failed"
  | "cancelled"
  | (string & Record<never, never>);

/** The answer to `query-migrate`, as far as it is used here. The key names are QEMU's. */
export interface MigrationInfo {
  status?: MigrationStatus;
  "error-desc"?: string;
  /** ms, at the source. */
  "total-time"?: number;
  /** ms, at the source. */
  "setup-time"?: number;
  /** ms, at the source. */
  downtime?: number;
  /** At the source. */
  ram?: { transferred: number; remaining: number; total: number; [name: string]: number };
  /** ms during which all processors waited for pages; at the destination, with postcopy-blocktime. */
  "postcopy-blocktime"?: number;
  "postcopy-vcpu-blocktime"?: number[];
  /** ns, mean over all faults that asked the source; QEMU 10.1 and later. */
  "postcopy-latency"?: number;
  /** Faults of [2^n, 2^(n+1)) us in bin n; QEMU 10.1 and later. */
  "postcopy-latency-dist"?: number[];
  "postcopy-vcpu-latency"?: number[];
  "postcopy-non-vcpu-latency"?: number;
  "socket-address"?: { type: string; host?: string; port?: string }[];
  [name: string]: unknown;
}

/** A rate that no machine reaches, bytes/s: the default of 128 MiB/s would be what one measures. */
export const UNLIMITED_BANDWIDTH = 1e12;

const FINAL: readonly MigrationStatus[] = ["completed", "failed", "cancelled"];

/** Switches migration capabilities on or off, such as `{ "postcopy-ram": true }`. */
export async function setCapabilities(
  qemu: Qemu,
  capabilities: Readonly<Record<string, boolean>>,
): Promise<void> {
  await qemu.execute("migrate-set-capabilities", {
    capabilities: Object.entries(capabilities).map(([capability, state]) => ({
      capability,
      state,
    })),
  });
}

/** Sets migration parameters, such as `{ "max-postcopy-bandwidth": 1e9 }`. */
export async function setParameters(
  qemu: Qemu,
  parameters: Readonly<Record<string, unknown>>,
): Promise<void> {
  await qemu.execute("migrate-set-parameters", { ...parameters });
}

/** Asks for the state and statistics of the migration. */
export function queryMigrate(qemu: Qemu): Promise<MigrationInfo> {
  return qemu.execute<MigrationInfo>("query-migrate");
}

/**
 * Makes a QEMU that was started with `incoming` listen for a migration.
 *
 * @param host Address of its own to listen at. Default loopback.
 * @returns The port.
 */
export async function listenForMigration(qemu: Qemu, host = "127.0.0.1"): Promise<number> {
  await qemu.execute("migrate-incoming", { uri: `tcp:${host}:0` });
  const address = (await queryMigrate(qemu))["socket-address"]?.[0];
  if (address?.port === undefined) throw new Error("QEMU does not say where it listens");
  return Number(address.port);
}

/**
 * Has a destination that is paused listen again, at a port of its own choice that is free.
 *
 * @param port where; must be free
 */
export async function listenForRecovery(qemu: Qemu, port: number): Promise<void> {
  await qemu.qmp.executeOutOfBand("migrate-recover", { uri: `tcp:127.0.0.1:${port}` });
}

/** How a destination of a postcopy migration is set up. */
export interface PostcopyOptions {
  /** A channel of its own for requested pages ("postcopy-preempt"). Default true. */
  preempt?: boolean;
}

/**
 * Makes a QEMU that was started with `incoming` ready for a postcopy migration: capabilities,
 * latency statistics, listener.
 *
 * @returns The port.
 */
export async function listenForPostcopy(
  qemu: Qemu,
  options: PostcopyOptions = {},
): Promise<number> {
  await setCapabilities(qemu, {
    "postcopy-ram": true,
    "postcopy-preempt": options.preempt ?? true,
    "postcopy-blocktime": true,
  });
  return await listenForMigration(qemu);
}

/**
 * Waits until the migration is in one of these states.
 *
 * @param qemu Source or destination.
 * @param wanted The states.
 * @param options When to give up; `since` counts the QMP events before the migration began, so that
 * a state which has passed already is seen. Default: from now on.
 * @returns The state.
 * @throws {Error} When the migration ends in another state, with QEMU's reason.
 */
export async function waitForMigration(
  qemu: Qemu,
  wanted: readonly MigrationStatus[],
  options: WaitOptions = {},
): Promise<MigrationStatus> {
  const since = qemu.qmp.events.items.length;
  const over = (status: MigrationStatus): boolean =>
    wanted.includes(status) || FINAL.includes(status);
  let { status } = await queryMigrate(qemu);
  if (options.since !== undefined || status === undefined || !over(status)) {
    const event = await qemu.qmp.waitForEvent(
      "MIGRATION",
      (data) => over(data["status"] as MigrationStatus),
      { since, ...options },
    );
    status = event.data["status"] as MigrationStatus;
  }
  if (wanted.includes(status)) return status;
  const reason = (await queryMigrate(qemu))["error-desc"] ?? qemu.stderr.trim();
  throw new Error(`Migration ended as ${status} instead of ${wanted.join(" or ")}: ${reason}`);
}
