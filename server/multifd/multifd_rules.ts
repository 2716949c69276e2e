/** What a destination's version makes of multifd, as far as its machine type tells. */

import { isBefore, type MachineVersion, machineVersion } from "../outgoing/machine_type.ts";
import type { MultifdMarks } from "./packet_slots.ts";

/** How a destination is spoken to. */
export interface MultifdRules {
  readonly marks: MultifdMarks;
  /** Whether it takes zero pages by their names in a packet. */
  readonly zeroPages: boolean;
}

/**
 * The first type without the property `multifd-flush-after-each-section`: it knows the record, and QEMU since
 * then refuses multifd with postcopy until it can do both (10.1).
 */
const RECORDS: MachineVersion = { major: 8, minor: 1 };
/** The first QEMU that finds zero pages in its channels' threads. */
const ZERO_PAGES: MachineVersion = { major: 9, minor: 0 };

/**
 * Returns the rules for a machine type: no QEMU has one that is newer than itself. One without a version
 * (`microvm`, RISC-V's `virt`, distributions' own names) has those of the newest, but for what an older one would
 * pass over in silence.
 *
 * @param flushAfterEachSection what the user knows better
 */
export function multifdRules(machine: string, flushAfterEachSection?: boolean): MultifdRules {
  const version = machineVersion(machine);
  const old = version !== undefined && isBefore(version, RECORDS);
  return {
    marks: flushAfterEachSection ?? old ? "sections" : "records",
    zeroPages: version !== undefined && !isBefore(version, ZERO_PAGES),
  };
}

/**
 * Whether pages may follow on demand behind those on multifd channels, as far as the machine type tells: of QEMUs
 * that have such a type, those from 10.1 on can, and all others refuse it themselves. Older ones do not refuse
 * it, and hang with the guest running (7.2, seen).
 */
export function allowsPostcopy(machine: string): boolean {
  const version = machineVersion(machine);
  return version !== undefined && !isBefore(version, RECORDS);
}
