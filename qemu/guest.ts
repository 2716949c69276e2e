/**
 * The test guest in a QEMU: boots it, waits for its rounds, captures it, checks what it printed.
 *
 * @module
 */
import {
  buildBootSector,
  type GuestOptions,
  parseRoundLine,
  RESERVED_ABOVE,
} from "./boot_sector.ts";
import { WORKING_SET_ADDRESS, workingSetPages } from "./boot_sector.ts";
import { capture, type CaptureOptions } from "./capture.ts";
import type { WaitOptions } from "./event_log.ts";
import { Qemu, type QemuOptions } from "./qemu.ts";

/** A guest and the machine around it. */
export interface GuestMachine extends GuestOptions, Omit<QemuOptions, "bootSector"> {}

/**
 * Starts a QEMU with the test guest: it boots, or waits for a migration when `incoming` is set.
 *
 * @param machine What the guest does and the machine it does it on.
 * @returns The QEMU.
 * @throws {RangeError} When the working set does not fit the memory.
 * @throws {Error} When QEMU does not start.
 */
export async function startGuest(machine: GuestMachine = {}): Promise<Qemu> {
  const memory = (machine.memoryMiB ?? 64) * (1 << 20);
  const needed = WORKING_SET_ADDRESS + workingSetPages(machine) * 4096 + RESERVED_ABOVE;
  if (needed > memory) {
    throw new RangeError(`Working set needs memory of ${needed} bytes or more: ${memory}`);
  }
  return await Qemu.start({ ...machine, bootSector: buildBootSector(machine) });
}

/** Waits until the guest has finished this many rounds since it booted. */
export async function waitForRound(
  qemu: Qemu,
  rounds: number,
  options?: WaitOptions,
): Promise<void> {
  await qemu.serial.waitForLine(
    `round ${rounds}`,
    (text) => (parseRoundLine(text)?.round ?? -1) >= rounds,
    options,
  );
}

/** A guest that lies in a file. */
export interface CapturedGuest {
  /** The file. */
  readonly path: string;
  /** How it ran: start its destination with the same, and with `incoming`. */
  readonly machine: GuestMachine;
  /** Rounds that it had finished. */
  readonly rounds: number;
  /** All that it had printed; the restored guest goes on behind the last character. */
  readonly output: string;
}

/**
 * Boots the guest, lets it count, captures it and kills it.
 *
 * @param path The file to write.
 * @param machine The guest.
 * @param options How it is captured, and after how many rounds (default 3).
 * @returns What is in the file.
 * @throws {Error} When QEMU fails, or the guest found wrong memory.
 */
export async function captureGuest(
  path: string,
  machine: GuestMachine = {},
  options: CaptureOptions & { rounds?: number } = {},
): Promise<CapturedGuest> {
  const qemu = await startGuest(machine);
  try {
    await waitForRound(qemu, options.rounds ?? 3);
    await capture(qemu, path, options);
  } finally {
    await qemu.close(); // only now is all of its output there
  }
  const output = qemu.serial.text;
  return { path, machine, rounds: checkRounds(output), output };
}

/**
 * Checks that a guest counted its rounds from 1 without a gap and found its memory right.
 *
 * @param output All that it printed, before and after its moves joined; a last line that is not
 * complete is left aside.
 * @returns The rounds it finished.
 * @throws {Error} When a line is missing, wrong or doubled, or reports a wrong page.
 */
export function checkRounds(output: string): number {
  const lines = output.replaceAll("\r", "").split("\n").slice(0, -1);
  lines.forEach((text, index) => {
    const round = parseRoundLine(text)?.round;
    if (round === index + 1) return;
    throw new Error(`Guest should have printed round ${index + 1}: ${JSON.stringify(text)}`);
  });
  return lines.length;
}
