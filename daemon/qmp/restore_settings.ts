/** What a QEMU needs to take a machine that is served to it. */

import type { Mode } from "../../server/sending/mode.ts";
import type { SourceOptions } from "../../server/source.ts";
import { MonitorError } from "./monitor_error.ts";
import { changed } from "./migration_settings.ts";
import type { Capabilities, WaitingQemu } from "./waiting_qemu.ts";

/** What is looked at of how it is served. */
export type ServedHow = Pick<SourceOptions, "mode" | "compress" | "multifd" | "postcopyAfter">;

/** Capabilities by which nothing is compared or sent: they may be as they are where QEMU listens already. */
export const HELPFUL: readonly string[] = ["events", "postcopy-blocktime"];

/**
 * The mode in which a QEMU can be served: one that lacks a channel for requested pages (before 7.1) gets them on
 * the main one.
 *
 * @param said whether the user asked for it
 * @throws {MonitorError} `UNFIT` for one that was asked for and cannot be
 */
export function modeFor(
  { mode = "preempt-full", multifd, postcopyAfter }: ServedHow,
  said: boolean,
  { capabilities }: Pick<WaitingQemu, "capabilities">,
): Mode {
  const postcopy = multifd === undefined || postcopyAfter !== undefined;
  if (mode === "vanilla" || !postcopy || "postcopy-preempt" in capabilities) return mode;
  if (!said) return "vanilla";
  throw lacks("postcopy-preempt", "use --mode vanilla");
}

/**
 * Capabilities of a QEMU that is served so.
 *
 * @param how with its mode
 * @throws {MonitorError} `UNFIT` for one that it lacks
 */
export function restoreCapabilities(
  { mode, compress, multifd, postcopyAfter }: ServedHow,
  { capabilities }: Pick<WaitingQemu, "capabilities">,
): Capabilities {
  const postcopy = multifd === undefined || postcopyAfter !== undefined;
  const wanted = {
    "postcopy-ram": postcopy,
    "postcopy-preempt": postcopy && mode !== "vanilla",
    multifd: multifd !== undefined,
    compress: compress !== undefined,
    "x-ignore-shared": false,
    "mapped-ram": false,
    "x-colo": false,
    events: true,
    "postcopy-blocktime": postcopy,
  };
  const missing = Object.entries(wanted).find(([name, on]) => on && !(name in capabilities))?.[0];
  if (missing === undefined) return wanted;
  throw lacks(missing, REMEDIES[missing] ?? "use a QEMU that has it");
}

/** Parameters of a QEMU that is served so. */
export function restoreParameters({ multifd }: ServedHow): Readonly<Record<string, unknown>> {
  if (multifd === undefined) return {};
  const { channels, compression = "none" } = multifd;
  return { "multifd-channels": channels, "multifd-compression": compression };
}

/**
 * Sees that a QEMU that listens already needs nothing which can only be set before.
 *
 * @param where it listens
 * @throws {MonitorError} `UNFIT` naming what it would need
 */
export function checkListening(
  wanted: Readonly<Record<string, unknown>>,
  found: Readonly<Record<string, unknown>>,
  where: string,
): void {
  const needed = Object.entries(changed(wanted, found)).filter(([name]) => !HELPFUL.includes(name));
  if (needed.length === 0) return;
  const settings = needed.map(([name, value]) =>
    `${name} ${typeof value === "boolean" ? (value ? "on" : "off") : value}`
  );
  throw new MonitorError(
    "UNFIT",
    `QEMU listens already, at ${where}, without what it needs, which is set before: ${
      settings.join(", ")
    }: ` +
      "nothing was changed there: start it with -incoming defer in place of an address",
  );
}

const REMEDIES: Readonly<Record<string, string>> = {
  "postcopy-ram":
    "it was built without: use another, or restore there by migrate-incoming of the file",
  compress: "QEMU has it from 2.3 to 9.0: leave --compress out, or use --multifd-channels with " +
    "--multifd-compression",
};

function lacks(capability: string, remedy: string): MonitorError {
  return new MonitorError(
    "UNFIT",
    `QEMU lacks the migration capability ${capability}: nothing was changed there: ${remedy}`,
  );
}
