/** The error for a device state that cannot be saved or loaded. */

/** What was wrong; stable, for programs. */
export type DeviceStateErrorCode =
  /** Not the head of a SECTION_FULL, or a device's name that is none. */
  | "bad-section"
  /** A section of a device that this machine does not have. */
  | "unknown-device"
  /** A device of this machine had no section. */
  | "missing-device"
  /** A second section of the same device. */
  | "device-twice"
  /** A version above the one that this program knows. */
  | "too-new"
  /** A version below the lowest that this program still reads. */
  | "too-old"
  /** The device state ended too early. */
  | "truncated"
  /** No footer where the fields end. */
  | "wrong-size"
  /** A subsection that the structure does not have. */
  | "unknown-subsection"
  /** The same subsection of the same structure again. */
  | "subsection-twice"
  /** A value that the field cannot have. */
  | "bad-value"
  /** A length above its maximum, or below 0. */
  | "bad-count"
  /** The machine's own object is not what its description says. */
  | "bad-state"
  /** The device's `preSave`, `postLoad`, `needed` or a condition threw; `cause` is what. */
  | "hook-failed";

/** What is known of an error where a field is read or written; the device is added further out. */
export interface FieldFault {
  /** Machine-readable kind. */
  readonly code: DeviceStateErrorCode;
  /** Path of the field from the structure outwards to the device; empty for a whole one. */
  readonly field: string;
  /** Bytes from the start of the device state. */
  readonly offset: number;
  /** What would have been right. */
  readonly expected: string;
  /** What was there. */
  readonly found: string;
  /** What the device's own code threw. */
  readonly cause?: unknown;
}

/**
 * A device's state cannot be loaded, or saved. When loading throws it the devices hold part of what came:
 * they must not run, and the source may go on.
 */
export class DeviceStateError extends Error {
  /** The class's name. */
  override readonly name = "DeviceStateError";
  /** Machine-readable kind. */
  readonly code: DeviceStateErrorCode;
  /** Name of the device; empty where no section's head could be read. */
  readonly device: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** Path of the field, for example `queues[3].head`; empty where it is the device as a whole. */
  readonly field: string;
  /** Bytes from the start of the device state. */
  readonly offset: number;
  /** What would have been right. */
  readonly expected: string;
  /** What was there. */
  readonly found: string;

  /**
   * Makes the error.
   *
   * @param action what was being done
   * @param device name of the device, or empty
   * @param instance tells devices of one name apart
   * @param fault what was wrong, and where
   */
  constructor(action: "load" | "save", device: string, instance: number, fault: FieldFault) {
    const { code, field, offset, expected, found, cause } = fault;
    const what = device === "" ? "device state" : `device ${device}, instance ${instance}`;
    const where = field === "" ? "" : ` field ${field} of`;
    super(
      `Cannot ${action}${where} ${what}, at byte ${offset} of the device state: expected ` +
        `${expected}, found: ${found}`,
      cause === undefined ? undefined : { cause },
    );
    this.code = code;
    this.device = device;
    this.instance = instance;
    this.field = field;
    this.offset = offset;
    this.expected = expected;
    this.found = found;
  }
}
