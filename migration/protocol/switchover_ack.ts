/**
 * The approval of a switchover (QEMU 8.1 and later, capability `switchover-ack`): the message SWITCHOVER_ACK, by
 * which a destination says that its devices are ready for the guest. Nothing in the stream tells that an end has
 * the capability on; how many approvals a source then waits for depends on the machine type.
 */

import { isBefore, type MachineVersion, machineVersion } from "../machine_version.ts";

/** QEMU's capability, as it is on at the other end. */
export interface SwitchoverAckOptions {
  /** Whether the capability `switchover-ack` is on at the other end, as it must be at both or neither. Default false. */
  readonly switchoverAck?: boolean;
  /**
   * QEMU's property `switchover-ack-legacy`: whether one approval is waited for although no device asks for it.
   * Default as the machine type says, on for those up to 11.0; one without a version counts as new.
   */
  readonly switchoverAckLegacy?: boolean;
}

/** The same for a task: plain data. */
export interface SwitchoverAckInit {
  /** What the user knows better than the machine type tells. */
  readonly legacy?: boolean;
}

/** Returns what the options ask for; undefined when the capability is off. */
export function switchoverAckInit(options: SwitchoverAckOptions): SwitchoverAckInit | undefined {
  const { switchoverAck = false, switchoverAckLegacy: legacy } = options;
  if (!switchoverAck) return undefined;
  return legacy === undefined ? {} : { legacy };
}

/**
 * First machine type for which QEMU counts what its devices ask for, and fails when more comes; for older ones it
 * waits for one approval that no device asks for (`switchover-ack-legacy`, and by trial).
 */
const COUNTED: MachineVersion = { major: 11, minor: 1 };

/**
 * Whether one approval belongs to a migration in which no device asks for any.
 *
 * @param machine the machine type
 * @param init what the user knows better
 */
export function expectsApproval(machine: string, { legacy }: SwitchoverAckInit): boolean {
  const version = machineVersion(machine);
  return legacy ?? (version !== undefined && isBefore(version, COUNTED));
}
