/** Finding fields in a tree by their names. */

import { assert } from "@std/assert";
import type { DescribedField, DescribedStructure } from "../../migration/device/described_state.ts";
import type { FieldValue } from "../../migration/device/field_values.ts";

/** The value of a field that is neither array nor structure. */
export function valueOf(state: DescribedStructure, name: string): FieldValue {
  const field = fieldOf(state, name);
  assert("value" in field, `No single value: ${name}`);
  return field.value;
}

/** The bytes of a field. */
export function bytesOf(state: DescribedStructure, name: string): Uint8Array<ArrayBuffer> {
  const value = valueOf(state, name);
  assert(value instanceof Uint8Array, `No bytes: ${name}`);
  return value.slice();
}

/** The values of an array. */
export function valuesOf(state: DescribedStructure, name: string): readonly FieldValue[] {
  const field = fieldOf(state, name);
  assert("values" in field, `No array: ${name}`);
  return field.values;
}

/** A field that is a structure. */
export function structureOf(state: DescribedStructure, name: string): DescribedStructure {
  const field = fieldOf(state, name);
  assert("structure" in field, `No structure: ${name}`);
  return field.structure;
}

/** The elements of an array of structures. */
export function structuresOf(
  state: DescribedStructure,
  name: string,
): readonly DescribedStructure[] {
  const field = fieldOf(state, name);
  assert("structures" in field, `No array of structures: ${name}`);
  return field.structures;
}

/** A subsection. */
export function subsectionOf(state: DescribedStructure, name: string): DescribedStructure {
  const subsection = state.subsections.find((each) => each.name === name);
  assert(subsection !== undefined, `No subsection: ${name}`);
  return subsection;
}

function fieldOf({ fields }: DescribedStructure, name: string): DescribedField {
  const field = fields.find((each) => each.name === name);
  assert(field !== undefined, `No field: ${name}`);
  return field;
}
