/** Descriptions in our form of devices that a stream describes itself. */

import {
  array,
  bool,
  bytes,
  type Description,
  description,
  type Element,
  type Field,
  i32,
  i64,
  struct,
  u16,
  u32,
  u64,
  u8,
  unused,
} from "../../migration/device/mod.ts";
import type { State } from "../../migration/device/structure.ts";

/** A structure as QEMU's VMDESCRIPTION has it. */
export interface RecordedStructure {
  readonly vmsd_name: string;
  readonly version: number;
  readonly fields: readonly RecordedField[];
  readonly subsections?: readonly RecordedStructure[];
}

/** A device as QEMU's VMDESCRIPTION has it. */
export interface RecordedDevice extends RecordedStructure {
  readonly name: string;
  readonly instance_id: number;
}

/** A field as QEMU's VMDESCRIPTION has it; a `tmp` is itself the structure. */
interface RecordedField extends Partial<RecordedStructure> {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly array_len?: number;
  readonly struct?: RecordedStructure;
}

const SCALARS: Readonly<Record<string, Element<unknown, unknown>>> = {
  uint8: u8,
  uint16: u16,
  uint32: u32,
  uint64: u64,
  int32: i32,
  int64: i64,
  timer: i64,
  bool,
};

/** What a stream says of a structure, as a description that can load its bytes. */
export function recordedDescription(
  { vmsd_name: name, version, fields, subsections = [] }: RecordedStructure,
  needed?: () => boolean,
): Description<State> {
  return description({
    name,
    version,
    // Elements of an array that differ come as fields of one name, and subsections share the state.
    fields: Object.fromEntries(
      fields.map((field, i) => [`${name} ${i} ${field.name}`, recordedField(field)]),
    ),
    subsections: subsections.map((each) => recordedDescription(each, () => true)),
    ...(needed === undefined ? {} : { needed }),
  }) as Description<State>;
}

function recordedField(field: RecordedField): Field<unknown> {
  const { type, size, array_len: length, fields, vmsd_name: name = "", version = 0 } = field;
  if (type === "unused_buffer") return unused(size);
  const structure = fields === undefined ? field.struct : { vmsd_name: name, version, fields };
  const element = structure === undefined
    ? SCALARS[type.replace(/ (equal|le)$/, "")]
    : struct(recordedDescription(structure));
  // "buffer", "pci config" and others that only QEMU knows.
  if (element === undefined) return bytes(size);
  return length === undefined ? element : array(element, length);
}
