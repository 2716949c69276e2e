/** From a guest's device state to the guest that runs. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { Guest, GuestMachine, GuestMemory } from "../../migration/guest.ts";
import { guestState } from "../../migration/protocol/guest_section.ts";
import type { SendingEnd } from "../../channel/sending_end.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { ArrivalTimes } from "./arrival_times.ts";
import type { ControlAnswers } from "../return_path/control_answers.ts";
import type { ArrivedMachine } from "./stream_events.ts";

/** Who arrives, and who must hear of it. */
export interface ArrivalInit {
  readonly guest: Guest;
  readonly memory: GuestMemory;
  readonly machine: ArrivedMachine;
  /** True when all of the memory is here. */
  readonly precopy: boolean;
  readonly returnPath: SendingEnd;
  readonly answers: ControlAnswers;
  /** Where it is noted when what happened. */
  readonly times: ArrivalTimes;
  /** Whether the source is gone, or this side has given up. */
  readonly isOver: () => boolean;
  /** Called before the guest is started: from here on it is this side's. */
  readonly onStart: () => void;
}

/**
 * Loads the device state, tells the source, and starts the guest. A source that never hears that the
 * guest is loaded lets it go on there, and both must not run: so the guest is started only once the
 * socket has taken the word, and not when the source is known to be gone.
 *
 * @returns whether the guest was started; false when it was over before
 * @throws what the guest throws
 * @throws {MigrationError} when the source sends what has no place here, or left unheard
 */
export async function arrive(init: ArrivalInit): Promise<boolean> {
  const { guest, memory, machine, precopy, isOver } = init;
  if (!precopy && !machine.commands.some((command) => command.kind === "run")) {
    throw new MigrationError("BAD_PEER", "Source sent a package that does not run the guest");
  }
  await guest.load(guestState(machine.deviceState), memory);
  if (guest.machine !== undefined) {
    init.times.commit = loadDevices(guest.machine, machine.deviceState);
  }
  init.times.loaded = monotonicNanoseconds();
  if (isOver()) return false;
  if (precopy) {
    await confirmAll(init);
    return await start(init);
  }
  let started = false;
  for (const command of machine.commands) {
    if (command.kind === "ping") {
      init.answers.pong(command.value);
    } else if (command.kind === "run") {
      await confirmLoaded(init);
      started = await start(init);
      if (!started) return false;
    } else {
      throw new MigrationError("BAD_PEER", `Unexpected command in a package: ${command.kind}`);
    }
  }
  return started;
}

/** The error of a migration whose guest cannot arrive, from what {@linkcode arrive} threw. */
export function guestFailure(cause: unknown): MigrationError {
  if (cause instanceof MigrationError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new MigrationError("GUEST_FAILED", `Guest cannot run here: ${why}`, { cause });
}

/**
 * Loads the devices. Each of them may change the memory map; all these changes are committed together
 * when the last device is loaded, or sooner when one of them reads the map.
 *
 * @param machine the devices, and the memory map
 * @param sections SECTION_FULL elements
 * @returns nanoseconds spent in commits
 * @throws what the devices throw; the map is consistent then
 */
function loadDevices(machine: GuestMachine, sections: Uint8Array): number {
  const { devices, memory } = machine;
  const before = memory.statistics.commitTime;
  memory.transaction(() => devices.load(sections));
  machine.finishLoad?.();
  return memory.statistics.commitTime - before;
}

/** Tells the source that guest and memory are here: it may close the connection at once. */
async function confirmAll({ returnPath, answers }: ArrivalInit): Promise<void> {
  if (answers.heard && returnPath.peerLeft) throw sourceLeft();
  try {
    await answers.shut(returnPath, 0);
  } catch (cause) {
    throw sourceLeft(cause);
  }
}

/** Tells the source that the guest is loaded: it stays, to send the rest. */
async function confirmLoaded({ returnPath, answers }: ArrivalInit): Promise<void> {
  await answers.taken();
  // A socket takes what is said to somebody who has left.
  if (returnPath.peerLeft) throw sourceLeft();
}

async function start({ guest, times, isOver, onStart }: ArrivalInit): Promise<boolean> {
  if (isOver()) return false;
  onStart();
  await guest.start();
  times.running = monotonicNanoseconds();
  return true;
}

function sourceLeft(cause?: unknown): MigrationError {
  return new MigrationError(
    "CONNECTION_LOST",
    "Source went away before it heard that the guest is loaded: the guest goes on there",
    { cause },
  );
}
