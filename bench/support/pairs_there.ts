/** Which pairs of ends can be measured on this machine. */

import { type QemuBinary, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { describeMachine, type Machine, qemuVersion } from "./machine.ts";

/** The QEMU that the targets are about. */
const WANTED_QEMU = "11.1";

/** What is there. */
export interface PairsThere<Pair> {
  readonly pairs: readonly Pair[];
  readonly machine: Machine;
}

/**
 * Leaves out pairs whose QEMU is not there; notes that, and when it is another than the targets are about.
 *
 * @param pairs of which `ours` alone needs none
 */
export async function pairsThere<Pair extends string>(
  pairs: readonly Pair[],
  binary: QemuBinary,
  notes: string[],
): Promise<PairsThere<Pair>> {
  const reason = await whyNoQemu(binary);
  if (reason !== undefined) {
    const left = pairs.filter((pair) => pair === "ours");
    if (left.length < pairs.length) notes.push(`NO QEMU: ${reason}`);
    return { pairs: left, machine: await describeMachine() };
  }
  const version = await qemuVersion(binary.command);
  if (version?.startsWith(`${WANTED_QEMU}.`) !== true) {
    notes.push(
      `QEMU is ${version}, not ${WANTED_QEMU}: name one in QEMU_SYSTEM ("chroot TREE ` +
        'qemu-system-x86_64")',
    );
  }
  return { pairs, machine: await describeMachine(version) };
}
