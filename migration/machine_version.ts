/** The version in a QEMU machine type, by which QEMU's compatibility properties go. */

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

/** Whether a version is older than another. */
export function isBefore(one: MachineVersion, other: MachineVersion): boolean {
  return one.major < other.major || (one.major === other.major && one.minor < other.minor);
}
