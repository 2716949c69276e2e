/** A QEMU that runs the guest which is saved: looked at, stopped, sent away, and as it was when that fails. */

import type { MigrationEvents } from "./migration_events.ts";
import type { MigrationInfo } from "./migration_info.ts";
import { MigrationSettings, type WantedSettings } from "./migration_settings.ts";
import type { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";
import { type Capabilities, capabilitiesOf, parametersOf } from "./waiting_qemu.ts";

/** States of a guest that cannot be sent away, each with the reason. */
const NO_GUEST: Readonly<Record<string, string>> = {
  inmigrate: "it waits for a guest itself",
  postmigrate:
    "its guest was moved or saved before: where its image is not used, cont lets it go on",
  "finish-migrate": "its guest is being moved",
  "save-vm": "its guest is being saved",
  "restore-vm": "its guest is being restored",
  colo: "its guest runs at two places (COLO)",
};
/** States of a migration that is over, or never was. */
const AT_REST: readonly string[] = ["none", "completed", "failed", "cancelled"];
const ENDS: readonly string[] = ["completed", "failed", "cancelled"];

/** What a QEMU with a guest says of itself. */
export interface FoundSource {
  /** Whether its processors run. */
  readonly running: boolean;
  readonly capabilities: Capabilities;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/**
 * Looks at a QEMU; changes nothing there.
 *
 * @throws {MonitorError} `UNFIT` when it has no guest that can be sent away
 */
export async function lookAtSource(monitor: Monitor): Promise<FoundSource> {
  const { status, running } = await monitor.execute<{ status: string; running: boolean }>(
    "query-status",
  );
  const { status: migration = "none" } = await monitor.execute<MigrationInfo>("query-migrate");
  const why = NO_GUEST[status] ??
    (AT_REST.includes(migration) ? undefined : "its guest is being moved");
  if (why !== undefined) {
    throw new MonitorError(
      "UNFIT",
      `QEMU at ${monitor.name} has no guest to save, query-status says ${status}, query-migrate ${migration}: ` +
        `nothing was changed there: ${why}`,
    );
  }
  return {
    running,
    capabilities: await capabilitiesOf(monitor),
    parameters: await parametersOf(monitor),
  };
}

/** Sends its guest away. */
export class SaveSource {
  readonly #monitor: Monitor;
  readonly #events: MigrationEvents;
  readonly #found: FoundSource;
  readonly #timeout: number;
  readonly #settings: MigrationSettings;
  #stopped = false;

  /** @param timeout milliseconds for which QEMU's word is waited for */
  constructor(monitor: Monitor, events: MigrationEvents, found: FoundSource, timeout: number) {
    this.#monitor = monitor;
    this.#events = events;
    this.#found = found;
    this.#timeout = timeout;
    this.#settings = new MigrationSettings(monitor);
  }

  /**
   * Begins.
   *
   * @param uri where it goes
   * @param live whether the guest runs on meanwhile
   * @throws {MonitorError} `REFUSED`
   * @throws the signal's reason
   */
  async begin(
    uri: string,
    wanted: WantedSettings,
    live: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    await this.#settings.set(wanted, this.#found);
    signal.throwIfAborted();
    if (this.#found.running && !live) {
      this.#stopped = true;
      await this.#monitor.execute("stop");
    }
    signal.throwIfAborted();
    await this.#monitor.execute("migrate", { uri });
  }

  /**
   * Resolves with the reason when QEMU says that it failed; with undefined when it cannot be heard any more, or
   * the signal is aborted.
   */
  async failed(signal: AbortSignal): Promise<string | undefined> {
    const status = await this.#events.reached(["failed", "cancelled"], Infinity, signal);
    if (status === undefined) return undefined;
    const info = await this.#info().catch(() => undefined);
    return info?.["error-desc"] ?? `its migration is ${status}`;
  }

  /** The image is whole: waits until QEMU says so too, and puts back what was set. */
  async done(): Promise<
    { readonly info: MigrationInfo | Error; readonly notes: readonly string[] }
  > {
    try {
      await this.#connected();
      const { status } = await this.#info();
      if (!ENDS.includes(status ?? "")) await this.#events.reached(ENDS, this.#timeout);
      return { info: await this.#info(), notes: await this.#settings.putBack() };
    } catch (error) {
      return { info: error as Error, notes: await this.#settings.putBack() };
    }
  }

  /**
   * There is no image: has QEMU as it was.
   *
   * @returns what the user is to know
   */
  async giveUp(): Promise<readonly string[]> {
    const notes: string[] = [];
    try {
      await this.#connected();
      const { status } = await this.#info();
      if (!AT_REST.includes(status ?? "none")) {
        await this.#monitor.execute("migrate_cancel");
        await this.#events.reached(ENDS, this.#timeout);
      }
      const { "error-desc": reason } = await this.#info();
      if (reason !== undefined) notes.push(`QEMU says: ${reason}`);
      notes.push(...await this.#settings.putBack());
      if (!this.#found.running) return notes;
      const { running } = await this.#monitor.execute<{ running: boolean }>("query-status");
      if (!running) await this.#monitor.execute("cont");
      return [...notes, "The guest runs on there"];
    } catch (error) {
      const { message } = error as Error;
      return [
        ...notes,
        `QEMU could not be left as it was: ${message}`,
        ...this.#stopped || this.#found.running
          ? ['If query-status there does not say running: {"execute": "cont"}']
          : [],
        ...await this.#settings.putBack(),
      ];
    }
  }

  /** Ends QEMU. */
  async quit(): Promise<void> {
    await this.#monitor.execute("quit");
  }

  async #connected(): Promise<void> {
    if (!this.#monitor.ended) return;
    await this.#monitor.reconnect();
    this.#events.begin();
  }

  async #info(): Promise<MigrationInfo> {
    return await this.#monitor.execute<MigrationInfo>("query-migrate");
  }
}
