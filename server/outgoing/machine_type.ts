/** What the source must do differently for a machine type, as QEMU's compatibility properties decide it. */

/** The version in a versioned machine type, for example 7.2 in `pc-q35-7.2`. */
export interface MachineVersion {
  /** Before the point. */
  readonly major: number;
  /** After the point. */
  readonly minor: number;
}

/**
 * Returns the version that a machine type ends in, or undefined for one that has none (`microvm`).
 *
 * @param machine for example `"pc-q35-7.2"` or `"pc-i440fx-10.0"`
 */
export function machineVersion(machine: string): MachineVersion | undefined {
  const match = /-(\d+)\.(\d+)$/.exec(machine);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]) };
}

/** How the preempt channel is opened and ended. */
export interface PreemptRules {
  /**
   * True: right after the main connection, because the destination reads nothing before it has
   * both. False: once the destination answered PING 1, so that it cannot take one for the other.
   */
  readonly connectAtOnce: boolean;
  /** Whether the channel ends with an EOS record, which the destination's thread waits for. */
  readonly endOfSection: boolean;
}

/**
 * Returns the preempt channel's rules for a machine type: those of QEMU 7.1 and 7.2 for machine
 * types up to 7.2, on newer versions too (property `x-preempt-pre-7-2`), and those of 8.0 for all
 * others. A machine type without a version cannot tell; it gets the rules of 8.0, and the source
 * connects all the same when PING 1 stays unanswered.
 */
export function preemptRules(machine: string): PreemptRules {
  const version = machineVersion(machine);
  const old = version !== undefined &&
    (version.major < 7 || (version.major === 7 && version.minor <= 2));
  return { connectAtOnce: old, endOfSection: old };
}
