/** What the source must do differently for a machine type, as QEMU's compatibility properties decide it. */

import { isBefore, type MachineVersion, machineVersion } from "../../migration/machine_version.ts";

export { isBefore, type MachineVersion, machineVersion };

/** What is known of how a destination takes the preempt channel; one migration's links share it. */
export interface PreemptRules {
  /**
   * True: right after the main connection, because the destination reads nothing before it has
   * both. False: once the destination answered PING 1, so that it cannot take one for the other.
   */
  readonly connectAtOnce: boolean;
  /**
   * Whether the channel ends with an EOS record, as far as the machine type tells: the destination's thread
   * may wait for it. One that does not takes it, but no page after it.
   */
  readonly endOfSection: boolean;
  /** Whether the destination has shown that it waits for the channel although the mode has no use for it. */
  awaited: boolean;
}

/**
 * Returns the preempt channel's rules for a machine type: those of QEMU 7.1 and 7.2 for machine
 * types up to 7.2, on newer versions too (property `x-preempt-pre-7-2`), and those of 8.0 for all
 * others. A machine type without a version cannot tell (`microvm`, RISC-V's `virt`, distributions' own
 * names): what the destination does must show it. One that answers PING 1 before it has both channels has
 * the rules of 8.0; the source connects all the same when the answer does not come, and ends the channel as
 * 7.2 needs it, which 11.1 takes (seen).
 */
export function preemptRules(machine: string): PreemptRules {
  const version = machineVersion(machine);
  const old = version !== undefined &&
    (version.major < 7 || (version.major === 7 && version.minor <= 2));
  return { connectAtOnce: old, endOfSection: old || version === undefined, awaited: false };
}

/** What is known of a destination that is asked to go on; one migration's links share it. */
export interface RecoveryRules {
  /**
   * Whether it comes through a recovery that breaks in the middle, so that one in which nothing moves can be
   * given up. False as long as it may be a QEMU that dies of that, and with it the guest.
   */
  mayBreak: boolean;
}

/**
 * First version whose destination comes back to `postcopy-paused` (11.1: by trial). A 7.2 dies (by trial): it
 * left the state only where it was `postcopy-active`. That was mended in October 2023 ("migration: Allow
 * RECOVER->PAUSED convertion for dest qemu", qemu-devel), after 8.1 and before 8.2.
 */
const FIRST_THAT_COMES_THROUGH: MachineVersion = { major: 8, minor: 2 };

/**
 * Returns the rules of recovery for a machine type, as far as it tells: no QEMU has one that is newer than
 * itself. One of an older type may be any, unless it lists extensions: then it is of this project.
 */
export function recoveryRules(machine: string): RecoveryRules {
  const version = machineVersion(machine);
  return { mayBreak: version !== undefined && !isBefore(version, FIRST_THAT_COMES_THROUGH) };
}
