/** Making a QEMU ready for a machine: what it needs is set, and it listens. */

import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { warnLine } from "../../migration/command/output.ts";
import type { Mode } from "../../server/sending/mode.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";
import { type MonitorPath, monitorPath } from "./monitor_path.ts";
import { MigrationSettings } from "./migration_settings.ts";
import { qemuCredentials, type QemuTlsArguments } from "./qemu_tls.ts";
import {
  checkListening,
  HELPFUL,
  modeFor,
  restoreCapabilities,
  restoreParameters,
  type ServedHow,
} from "./restore_settings.ts";
import { type Place, type PlaceArguments, WaitingPlace } from "./waiting_place.ts";
import type { WaitingQemu } from "./waiting_qemu.ts";

/** Which QEMU, and what was said of it. */
export interface AskedQemu {
  readonly monitor: Monitor;
  readonly place: PlaceArguments;
  readonly tls: QemuTlsArguments;
  /** Ends it before the QEMU listens: then everything is put back. */
  readonly signal: AbortSignal;
}

/** A QEMU that is ready. */
export interface ReadyQemu {
  /** The caller's to dispose of. */
  readonly place: WaitingPlace;
  /** Where it is connected to first, its port known. */
  readonly first: Place;
  readonly mode: Mode;
}

/**
 * Makes a QEMU ready that waits for a guest.
 *
 * @param how it will be served
 * @param modeSaid whether its mode is the user's word
 * @throws {MonitorError} when it cannot be: everything is as it was then
 * @throws the signal's reason when it was aborted: everything is as it was then too
 */
export async function makeReady(
  asked: AskedQemu,
  qemu: WaitingQemu,
  how: ServedHow,
  modeSaid: boolean,
): Promise<ReadyQemu> {
  const { monitor, signal } = asked;
  const mode = modeFor(how, modeSaid, qemu);
  if (mode !== how.mode) {
    warnLine("QEMU has no channel for pages that are asked for (postcopy-preempt): --mode vanilla");
  }
  const credentials = qemuCredentials(asked.tls, qemu.parameters, monitor.name);
  const parameters = restoreParameters(how);
  let capabilities = restoreCapabilities({ ...how, mode }, qemu);
  const { listening } = qemu;
  if (listening !== undefined) {
    const wanted = { ...capabilities, ...parameters };
    const found = { ...qemu.capabilities, ...qemu.parameters };
    checkListening(wanted, found, formatSocketAddress(listening));
    capabilities = Object.fromEntries(HELPFUL.map((name) => [name, capabilities[name] ?? false]));
  }
  const path = await pathOf(asked);
  monitor.holdOut();
  using stack = new DisposableStack();
  const place = stack.use(
    listening === undefined
      ? await WaitingPlace.find(asked.place, path)
      : WaitingPlace.at(listening, asked.place, path),
  );
  const settings = new MigrationSettings(monitor);
  const first = place.first();
  try {
    signal.throwIfAborted();
    await settings.set(
      { capabilities, parameters, ...credentials === undefined ? {} : { credentials } },
      qemu,
    );
    signal.throwIfAborted();
    if (listening === undefined) await listen(monitor, first);
  } catch (error) {
    for (const text of await settings.putBack()) warnLine(text);
    throw await withRemedy(error, monitor);
  }
  const to = await place.reached(first, monitor);
  stack.move();
  return { place, first: { ...first, to }, mode };
}

/** Finds a place for a QEMU that is paused: it is told to listen there when it is connected to. */
export async function makeReadyToRecover(asked: AskedQemu, mode: Mode): Promise<ReadyQemu> {
  const path = asked.place.qmp.transport === "unix"
    ? { ours: asked.place.qmp.path, theirs: asked.place.qmp.path }
    : undefined;
  const found = await pathOf(asked).catch(() => path); // its main loop may wait for the memory that is to come
  const place = await WaitingPlace.find(asked.place, found);
  return { place, first: place.again(), mode };
}

async function pathOf({ monitor, place: { qmp } }: AskedQemu): Promise<MonitorPath | undefined> {
  return qmp.transport === "unix" ? await monitorPath(monitor, qmp.path) : undefined;
}

/** Has QEMU listen; where it can, it stays when the machine cannot be loaded, and says why. */
async function listen(monitor: Monitor, { uri }: Place): Promise<void> {
  const stays = monitor.atLeast(9, 1) ? { "exit-on-error": false } : {};
  await monitor.execute("migrate-incoming", { uri, ...stays });
}

/** What may be wrong where QEMU says no more than that it is. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /userfault|postcopy is not supported/i,
    "it needs userfaultfd: run QEMU as root, or set sysctl vm.unprivileged_userfaultfd=1; memory that is " +
    "locked, or in a file, cannot be had on demand",
  ],
  [/-incoming|already been started|incoming defer/i, "start QEMU with -incoming defer"],
  [
    /bind|permission denied|no such file/i,
    "name an address where QEMU can listen by --listen-uri",
  ],
];

async function withRemedy(error: unknown, monitor: Monitor): Promise<unknown> {
  if (!(error instanceof MonitorError) || error.code !== "REFUSED") return error;
  const [, remedy] = REMEDIES.find(([words]) => words.test(error.message)) ?? [];
  const advice = remedy === undefined ? "" : `: ${remedy}`;
  return new MonitorError(
    "REFUSED",
    `${error.message}: ${await stateThere(monitor)}${advice}`,
    { cause: error },
  );
}

/** A later QEMU (11.1 by trial) that could not listen once lets nobody tell it to again. */
async function stateThere(monitor: Monitor): Promise<string> {
  const { status } = await monitor.execute<MigrationInfo>("query-migrate").catch(() => ({
    status: undefined,
  }));
  return status === "setup"
    ? "what was set is as it was there, but this QEMU does not listen any more: end it (quit), and start it again"
    : "everything is as it was there";
}
