/** The state that a device's fields are read into. */

import { FIELD_KIND, type FieldKind, type State, type Step, type Structure } from "./structure.ts";

/**
 * A state with zeros: the object that a description's fields and subsections need, with all the values
 * that they can have.
 */
export function newStateOf(
  { steps, subsections }: Pick<Structure, "steps" | "subsections">,
): State {
  const state: State = {};
  for (const step of steps) {
    if (step.kind !== FIELD_KIND.UNUSED) state[step.key] = initial(step);
  }
  for (const subsection of subsections) Object.assign(state, subsection.create());
  return state;
}

/** An array for `length` elements that are no structures. */
export function newArray(kind: FieldKind, length: number): ArrayLike<unknown> {
  switch (kind) {
    case FIELD_KIND.I8:
      return new Int8Array(length);
    case FIELD_KIND.U16:
      return new Uint16Array(length);
    case FIELD_KIND.I16:
      return new Int16Array(length);
    case FIELD_KIND.U32:
      return new Uint32Array(length);
    case FIELD_KIND.I32:
      return new Int32Array(length);
    case FIELD_KIND.U64:
      return new BigUint64Array(length);
    case FIELD_KIND.I64:
      return new BigInt64Array(length);
    case FIELD_KIND.SAFE_U64:
    case FIELD_KIND.SAFE_I64:
      return new Float64Array(length);
    case FIELD_KIND.BOOL:
      return new Array(length).fill(false);
    default:
      return new Uint8Array(length);
  }
}

function initial({ kind, many, counter, length, structure }: Step): unknown {
  if (many) {
    const count = counter === undefined ? length : 0;
    if (structure === undefined) return newArray(kind, count);
    return Array.from({ length: count }, () => structure.create());
  }
  if (structure !== undefined) return structure.create();
  if (kind === FIELD_KIND.U64 || kind === FIELD_KIND.I64) return 0n;
  return kind === FIELD_KIND.BOOL ? false : 0;
}
