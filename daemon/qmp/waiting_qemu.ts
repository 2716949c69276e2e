/** A look at a QEMU that is to take a guest; it changes nothing there. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { listeningAt, type MigrationInfo } from "./migration_info.ts";
import type { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";
import { parseRamBlocks, type RamBlock } from "./ram_blocks.ts";

/** Migration capabilities by QEMU's names. */
export type Capabilities = Readonly<Record<string, boolean>>;

/** What a QEMU says of itself. */
export interface WaitingQemu {
  /** Machine type, with its version; undefined when it does not say. */
  readonly machine: string | undefined;
  /** Its blocks; none when it does not say, as before 6.2. */
  readonly blocks: readonly RamBlock[];
  readonly capabilities: Capabilities;
  /** Migration parameters by QEMU's names. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Where it listens already; undefined with `-incoming defer`. */
  readonly listening: SocketAddress | undefined;
}

/** States of a destination to which nobody has connected. */
const WAITING: readonly string[] = ["none", "setup"];

/**
 * Looks at a QEMU.
 *
 * @throws {MonitorError} `UNFIT` when it does not wait for a guest
 */
export async function lookAtWaiting(monitor: Monitor): Promise<WaitingQemu> {
  const { status } = await monitor.execute<{ status: string }>("query-status");
  const info = await monitor.execute<MigrationInfo>("query-migrate");
  if (status !== "inmigrate") throw notWaiting(monitor, status, info);
  if (info.status === "postcopy-paused") throw notWaiting(monitor, info.status, info);
  if (!WAITING.includes(info.status ?? "none")) {
    throw new MonitorError(
      "UNFIT",
      `QEMU has a migration already, at ${monitor.name}: query-migrate says ${info.status}: end it (quit), ` +
        "and start it again with -incoming defer",
    );
  }
  const listening = listeningAt(info);
  if (info.status === "setup" && listening === undefined) {
    throw new MonitorError(
      "UNFIT",
      `QEMU at ${monitor.name} was told to listen before, and does not, or not at a socket: it takes no other ` +
        "address: nothing was changed there: end it (quit), and start it again with -incoming defer",
    );
  }
  const capabilities = await capabilitiesOf(monitor);
  const parameters = await parametersOf(monitor);
  return { ...await machineOf(monitor), capabilities, parameters, listening };
}

/** Asks which capabilities there are, and which are on. */
export async function capabilitiesOf(monitor: Monitor): Promise<Capabilities> {
  const list = await monitor.execute<{ capability: string; state: boolean }[]>(
    "query-migrate-capabilities",
  );
  return Object.fromEntries(list.map(({ capability, state }) => [capability, state]));
}

/** Asks for the migration's parameters. */
export async function parametersOf(monitor: Monitor): Promise<Readonly<Record<string, unknown>>> {
  return await monitor.execute<Record<string, unknown>>("query-migrate-parameters");
}

async function machineOf(monitor: Monitor): Promise<Pick<WaitingQemu, "machine" | "blocks">> {
  const type = await unlessRefused(
    monitor.execute<unknown>("qom-get", { path: "/machine", property: "type" }),
  );
  // For debugging, its name says: where it is refused, QEMU itself looks when the guest comes.
  const blocks = await unlessRefused(
    monitor.execute<{ "human-readable-text"?: string }>("x-query-ramblock"),
  );
  return {
    machine: typeof type === "string" ? type.replace(/-machine$/, "") : undefined,
    blocks: parseRamBlocks(blocks?.["human-readable-text"] ?? ""),
  };
}

async function unlessRefused<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof MonitorError && error.code === "REFUSED") return undefined;
    throw error;
  }
}

function notWaiting({ name }: Monitor, status: string, info: MigrationInfo): MonitorError {
  if (info.status === "postcopy-paused") {
    return new MonitorError(
      "UNFIT",
      `QEMU at ${name} has a guest already, whose memory is not all there: its migration is postcopy-paused: ` +
        "if its guest is of this image, go on with it: the same command with --recover",
    );
  }
  const migration = info.status === undefined ? "" : ` (its last migration: ${info.status})`;
  return new MonitorError(
    "UNFIT",
    `QEMU at ${name} does not wait for a guest, query-status says: ${status}${migration}: nothing was ` +
      "changed there: start another QEMU with -incoming defer",
  );
}
