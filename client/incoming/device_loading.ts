/** Loading a machine's devices: all of them in one transaction of its memory map. */

import type { GuestMachine } from "../../migration/guest.ts";

/**
 * Loads the devices. Each of them may change the memory map; all these changes are committed together
 * when the last device is loaded, or sooner when one of them reads the map.
 *
 * @param machine the devices, and the memory map
 * @param sections SECTION_FULL elements
 * @returns nanoseconds spent in commits
 * @throws what the devices throw; the map is consistent then
 */
export function loadDevices(machine: GuestMachine, sections: Uint8Array): number {
  const { devices, memory } = machine;
  const before = memory.statistics.commitTime;
  memory.transaction(() => devices.load(sections));
  machine.finishLoad?.();
  return memory.statistics.commitTime - before;
}
