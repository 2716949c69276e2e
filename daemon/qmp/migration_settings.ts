/** What is set at a QEMU for a migration, and put back when it came to nothing. */

import type { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";
import type { QemuCredentials } from "./qemu_tls.ts";
import type { Capabilities } from "./waiting_qemu.ts";

/** Parameters by QEMU's names. */
export type Parameters = Readonly<Record<string, unknown>>;

/** What a QEMU is to have. */
export interface WantedSettings {
  readonly capabilities: Capabilities;
  readonly parameters: Parameters;
  /** Credentials that it is to use; absent: those that it has, or none. */
  readonly credentials?: QemuCredentials;
}

/** What it has. */
export interface FoundSettings {
  readonly capabilities: Capabilities;
  readonly parameters: Parameters;
}

/**
 * Those of some settings that differ from what there is. One that is to be off and is not known there needs
 * nothing.
 */
export function changed<T>(
  wanted: Readonly<Record<string, T>>,
  found: Readonly<Record<string, T>>,
): Record<string, T> {
  return Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) =>
      name in found ? found[name] !== value : value !== false
    ),
  );
}

/** Settings of one QEMU. */
export class MigrationSettings {
  readonly #monitor: Monitor;
  /** What undoes what was done, in order. */
  readonly #undo: { readonly command: string; readonly args: Record<string, unknown> }[] = [];

  constructor(monitor: Monitor) {
    this.#monitor = monitor;
  }

  /**
   * Sets what differs.
   *
   * @throws {MonitorError} `REFUSED` with QEMU's words: then everything is as it was
   */
  async set(wanted: WantedSettings, found: FoundSettings): Promise<void> {
    const { credentials } = wanted;
    try {
      if (credentials?.object !== undefined) {
        await this.#do("object-add", credentials.object, "object-del", {
          id: credentials.object["id"],
        });
      }
      const parameters = changed(
        { ...wanted.parameters, ...credentials?.parameters },
        found.parameters,
      );
      if (Object.keys(parameters).length > 0) {
        await this.#do(
          "migrate-set-parameters",
          parameters,
          "migrate-set-parameters",
          formerly(parameters, found.parameters, ""),
        );
      }
      const capabilities = changed(wanted.capabilities, found.capabilities);
      if (Object.keys(capabilities).length > 0) {
        await this.#do(
          "migrate-set-capabilities",
          capabilityList(capabilities),
          "migrate-set-capabilities",
          capabilityList(formerly(capabilities, found.capabilities, false)),
        );
      }
    } catch (error) {
      const left = await this.putBack();
      if (left.length === 0 || !(error instanceof MonitorError)) throw error;
      throw new MonitorError(error.code, `${error.message}: ${left.join(": ")}`, { cause: error });
    }
  }

  /**
   * Puts everything back as it was. Doing so again does nothing.
   *
   * @returns what could not be, for the user
   */
  async putBack(): Promise<readonly string[]> {
    const left: string[] = [];
    for (const { command, args } of this.#undo.splice(0).reverse()) {
      try {
        await this.#monitor.execute(command, args);
      } catch (error) {
        const words = JSON.stringify({ execute: command, arguments: args });
        left.push(`Put back at QEMU by hand (${(error as Error).message}): ${words}`);
      }
    }
    return left;
  }

  /** Leaves everything as it is. */
  keep(): void {
    this.#undo.splice(0);
  }

  async #do(
    command: string,
    args: Readonly<Record<string, unknown>>,
    undo: string,
    undoArgs: Record<string, unknown>,
  ): Promise<void> {
    await this.#monitor.execute(command, { ...args });
    this.#undo.push({ command: undo, args: undoArgs });
  }
}

function capabilityList(capabilities: Capabilities): Record<string, unknown> {
  return {
    capabilities: Object.entries(capabilities).map(([capability, state]) => ({
      capability,
      state,
    })),
  };
}

/** What the changed ones were before. */
function formerly<T>(
  changes: Readonly<Record<string, T>>,
  found: Readonly<Record<string, T>>,
  otherwise: T,
): Record<string, T> {
  return Object.fromEntries(
    Object.keys(changes).map((name) => [name, found[name] ?? otherwise]),
  );
}
