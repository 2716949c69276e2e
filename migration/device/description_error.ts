/** The error for a device's section that the stream's own description does not fit. */

/** What kind of thing was wrong; stable, for programs. */
export type DescriptionErrorCode =
  /** The description itself is not of the form that QEMU writes. */
  | "bad-description"
  /** The description is of that form, but the section holds other bytes. */
  | "mismatch";

/** A device's section cannot be read by the stream's description of it. */
export class DescriptionError extends Error {
  override readonly name = "DescriptionError";
  /** Machine-readable kind. */
  readonly code: DescriptionErrorCode;
  /** Name of the device. */
  readonly device: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** The field with those that it lies in, outermost first; empty for the device as a whole. */
  readonly field: string;
  /** Where in the section's payload, in bytes. */
  readonly offset: number;
  /** What would have been right. */
  readonly expected: string;
  /** What was there. */
  readonly found: string;

  /**
   * @param code kind of the error
   * @param section the device's name and instance
   * @param field the field with those that it lies in; empty for the device as a whole
   * @param offset bytes from the start of the section's payload
   * @param expected what would have been right
   * @param found what was there
   */
  constructor(
    code: DescriptionErrorCode,
    section: { readonly name: string; readonly instance: number },
    field: string,
    offset: number,
    expected: string,
    found: string,
  ) {
    const { name, instance } = section;
    const what = field === "" ? "" : ` field ${field} of`;
    super(
      `Cannot read${what} device ${name}, instance ${instance}, by its description, at byte ` +
        `${offset} of its section: expected ${expected}, found: ${found}`,
    );
    this.code = code;
    this.device = name;
    this.instance = instance;
    this.field = field;
    this.offset = offset;
    this.expected = expected;
    this.found = found;
  }
}
