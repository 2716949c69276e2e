/**
 * Kinds of fields, to put into {@linkcode description}. On the wire all are big-endian, one after the
 * other without padding, as in QEMU's device sections (docs/protocol.md section 1.1).
 */

import type { Description } from "./description.ts";
import { FIELD_KIND, type FieldFormat } from "./structure.ts";

declare const VALUE: unique symbol;
declare const ARRAY: unique symbol;

/** A field whose value in the state is a `T`. */
export interface Field<T> extends FieldFormat {
  /**
   * Exists for the type only.
   *
   * @internal
   */
  readonly [VALUE]?: T;
}

/** A field that arrays can be made of; the state holds such an array as an `A`. */
export interface Element<T, A> extends Field<T> {
  /**
   * Exists for the type only.
   *
   * @internal
   */
  readonly [ARRAY]?: A;
}

/** A field without a value in the state. */
export type Padding = Field<never>;

/** What the state holds for a field. */
export type ValueOf<F> = F extends Field<infer T> ? T : never;

const ONE: FieldFormat = {
  kind: FIELD_KIND.UNUSED,
  type: "unused_buffer",
  size: 0,
  many: false,
  length: 1,
  counter: undefined,
  maximum: 0,
  structure: undefined,
  structureVersion: 0,
  since: 0,
};

/** A whole number from 0 to 255. */
export const u8: Element<number, Uint8Array> = {
  ...ONE,
  kind: FIELD_KIND.U8,
  type: "uint8",
  size: 1,
};
/** A whole number from -128 to 127. */
export const i8: Element<number, Int8Array> = {
  ...ONE,
  kind: FIELD_KIND.I8,
  type: "int8",
  size: 1,
};
/** A whole number of 16 bits. */
export const u16: Element<number, Uint16Array> = {
  ...ONE,
  kind: FIELD_KIND.U16,
  type: "uint16",
  size: 2,
};
/** A whole number of 16 bits with a sign. */
export const i16: Element<number, Int16Array> = {
  ...ONE,
  kind: FIELD_KIND.I16,
  type: "int16",
  size: 2,
};
/** A whole number of 32 bits. */
export const u32: Element<number, Uint32Array> = {
  ...ONE,
  kind: FIELD_KIND.U32,
  type: "uint32",
  size: 4,
};
/** A whole number of 32 bits with a sign. */
export const i32: Element<number, Int32Array> = {
  ...ONE,
  kind: FIELD_KIND.I32,
  type: "int32",
  size: 4,
};
/** 64 bits as a bigint: for what a guest may set to any value, such as a register. */
export const u64: Element<bigint, BigUint64Array> = {
  ...ONE,
  kind: FIELD_KIND.U64,
  type: "uint64",
  size: 8,
};
/** 64 bits with a sign as a bigint. */
export const i64: Element<bigint, BigInt64Array> = {
  ...ONE,
  kind: FIELD_KIND.I64,
  type: "int64",
  size: 8,
};
/**
 * 64 bits as a number from 0 to 2^53 - 1: for addresses, sizes and counters, which are numbers in all of
 * this project. Any other value is an error, when saved and when loaded; nothing is ever rounded.
 */
export const safeU64: Element<number, Float64Array> = {
  ...ONE,
  kind: FIELD_KIND.SAFE_U64,
  type: "uint64",
  size: 8,
};
/** 64 bits as a number from -(2^53 - 1) to 2^53 - 1; any other value is an error. */
export const safeI64: Element<number, Float64Array> = {
  ...ONE,
  kind: FIELD_KIND.SAFE_I64,
  type: "int64",
  size: 8,
};
/** A byte 0 or 1; any other is an error. */
export const bool: Element<boolean, boolean[]> = {
  ...ONE,
  kind: FIELD_KIND.BOOL,
  type: "bool",
  size: 1,
};

/**
 * Bytes that are skipped when loaded and saved as zeros; the state has nothing for them.
 *
 * @param length in bytes
 */
export function unused(length: number): Padding {
  return { ...ONE, size: countOf(length, "bytes") };
}

/**
 * Raw bytes of fixed length. They are loaded into the array that the state has.
 *
 * @param length in bytes
 */
export function bytes(length: number): Field<Uint8Array> {
  return array({ ...ONE, kind: FIELD_KIND.BYTES, type: "buffer", size: 1 }, length);
}

/**
 * Raw bytes as many as another field says. When they are loaded the state gets a new array, unless its
 * own has that length already.
 *
 * @param counter name of a field before this one in the same structure; saving requires that it is the
 * length of the array
 * @param maximum bytes at most; more are an error
 */
export function countedBytes(counter: string, maximum: number): Field<Uint8Array> {
  return counted({ ...ONE, kind: FIELD_KIND.BYTES, type: "buffer", size: 1 }, counter, maximum);
}

/**
 * An array of fixed length: numbers in a typed array, structures in an array of them. It is loaded into
 * the array that the state has.
 *
 * @param element kind of the elements
 * @param length of the array, in elements
 */
export function array<T, A>(element: Element<T, A>, length: number): Field<A> {
  return { ...elementFormat(element), many: true, length: countOf(length, "elements") };
}

/**
 * An array as long as another field says. When it is loaded, an array of structures is shortened, or
 * lengthened by new ones; of numbers the state gets a new array, unless its own has that length already.
 *
 * @param element kind of the elements; a structure must take one byte at least
 * @param counter name of a field before this one in the same structure; saving requires that it is the
 * length of the array
 * @param maximum elements at most; more are an error
 */
export function counted<T, A>(
  element: Element<T, A>,
  counter: string,
  maximum: number,
): Field<A> {
  if (element.structure !== undefined && element.structure.minimumSize === 0) {
    // A stream of a few bytes could otherwise make any number of them.
    throw new RangeError(
      `Cannot count structures that may take no bytes, add a field without condition: ` +
        element.structure.name,
    );
  }
  return { ...elementFormat(element), many: true, counter, maximum: countOf(maximum, "elements") };
}

/**
 * A structure inside another.
 *
 * @param description what it consists of; its hooks run where it lies
 * @param version by which it is saved and loaded, as the stream says none; default: the description's own
 */
export function struct<S>(
  description: Description<S>,
  version: number = description.version,
): Element<S, S[]> {
  if (!(version >= description.minimumVersion && version <= description.version)) {
    throw new RangeError(
      `Cannot use a version of ${description.name} outside ${description.minimumVersion} to ` +
        `${description.version}: ${version}`,
    );
  }
  return {
    ...ONE,
    kind: FIELD_KIND.STRUCTURE,
    type: "struct",
    structure: description,
    structureVersion: version,
  };
}

/**
 * A field that is in the stream from a version on. When an older one is loaded, the state's own value
 * stays.
 *
 * @param version the first that has the field
 * @param field what it is
 */
export function since<F extends Field<unknown>>(version: number, field: F): F {
  return { ...field, since: version };
}

function elementFormat(element: FieldFormat): FieldFormat {
  if (element.many || element.kind === FIELD_KIND.UNUSED) {
    throw new RangeError(`Cannot make an array of fields of a type, wrap it: ${element.type}`);
  }
  return element;
}

function countOf(count: number, what: string): number {
  if (Number.isSafeInteger(count) && count >= 0 && count < 2 ** 31) return count;
  throw new RangeError(`Cannot use other than a whole number of ${what} below 2^31: ${count}`);
}
