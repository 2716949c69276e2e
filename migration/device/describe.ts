/**
 * JSON of what a device state consists of, in the form of QEMU's VMDESCRIPTION (docs/protocol.md
 * section 1.5).
 */

import { FIELD_KIND, type State, type Step, type Structure } from "./structure.ts";

/** A structure in a VMDESCRIPTION. */
export interface StructureJson {
  readonly vmsd_name: string;
  readonly version: number;
  readonly fields: readonly FieldJson[];
  readonly subsections?: readonly StructureJson[];
}

/** A field in a VMDESCRIPTION. */
export interface FieldJson {
  readonly name: string;
  /** Elements of an array that are all of one form, which the rest describes. */
  readonly array_len?: number;
  /** Which element of an array this is, where they differ. */
  readonly index?: number;
  readonly type: string;
  readonly struct?: StructureJson;
  /** Bytes of the field, or of one of `array_len` elements. */
  readonly size: number;
}

/** A structure's JSON, and the bytes that it takes in the stream without a head. */
export interface DescribedSize {
  readonly json: StructureJson;
  readonly size: number;
}

/** Describes a structure as it is saved with its state as it is now. */
export function describeStructure(
  structure: Structure,
  state: State,
  version: number,
): DescribedSize {
  const { name, steps } = structure;
  const fields: FieldJson[] = [];
  let size = 0;
  for (const step of steps) {
    if (step.since > version || step.when?.(state, version) === false) continue;
    for (const field of describeField(step, state)) {
      fields.push(field);
      size += field.size * (field.array_len ?? 1);
    }
  }
  const subsections = structure.subsections.filter((each) => each.needed?.(state) !== false)
    .map((each) => describeStructure(each, state, each.version));
  for (const subsection of subsections) {
    // Its name stands behind a byte for the type and one for the count, and before its version.
    size += 2 + new TextEncoder().encode(subsection.json.vmsd_name).length + 4 + subsection.size;
  }
  const json = { vmsd_name: name, version, fields };
  if (subsections.length === 0) return { json, size };
  return { json: { ...json, subsections: subsections.map((each) => each.json) }, size };
}

/** A field's entries: one, or one for each element of an array whose elements differ. */
function describeField(step: Step, state: State): FieldJson[] {
  const { key: name, type, kind, many, structure, size } = step;
  const value = state[name];
  if (!many) {
    if (structure === undefined) return [{ name, type, size }];
    return [{ name, type, ...describeNested(step, structure, value as State) }];
  }
  const { length } = value as ArrayLike<unknown>;
  if (kind === FIELD_KIND.BYTES) return [{ name, type, size: length }];
  if (length === 0) return [];
  const array = length === 1 ? {} : { array_len: length };
  if (structure === undefined) return [{ name, ...array, type, size }];
  const list = value as State[];
  if (structure.uniform || length === 1) {
    return [{ name, ...array, type, ...describeNested(step, structure, list[0]!) }];
  }
  return list.map((element, index) => ({
    name,
    index,
    type,
    ...describeNested(step, structure, element),
  }));
}

function describeNested(
  step: Step,
  structure: Structure,
  state: State,
): { struct: StructureJson; size: number } {
  const { json, size } = describeStructure(structure, state, step.structureVersion);
  return { struct: json, size };
}
