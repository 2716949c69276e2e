import { deepStrictEqual } from "node:assert/strict";
import { failed, show } from "./assertion_error.ts";

/** Above this many elements a byte array is compared here: node's textual diff takes minutes. */
const diffLimit = 64;

/** Whether two values are deeply equal (same prototypes, `Object.is` on primitives). */
export function equal(a: unknown, b: unknown): boolean {
  return difference(a, b) === undefined;
}

/** Asserts that two values are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  const reason = difference(actual, expected);
  if (reason !== undefined) failed(`Values are not equal\n${reason}`, msg);
}

/** Asserts that two values are not deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) failed(`Expected values to differ, both are: ${show(actual)}`, msg);
}

/** Asserts that two values are the same one by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  failed(
    `Values are not strictly equal\nactual:   ${show(actual)}\nexpected: ${show(expected)}`,
    msg,
  );
}

/** Asserts that two values are not the same one by `Object.is`. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (Object.is(actual, expected)) failed(`Expected values to differ: ${show(actual)}`, msg);
}

/** Asserts that `actual` holds at least every property of `expected`, at any depth. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  assertEquals<unknown>(sharedWith(actual, expected), expected, msg);
}

function difference(actual: unknown, expected: unknown): string | undefined {
  if (isNumberArray(actual) && isNumberArray(expected)) {
    if (actual.length > diffLimit || expected.length > diffLimit) {
      return arrayDifference(actual, expected);
    }
  }
  try {
    deepStrictEqual(actual, expected);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

type NumberArray = ArrayLike<number | bigint> & { readonly constructor: { readonly name: string } };

function isNumberArray(value: unknown): value is NumberArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function arrayDifference(actual: NumberArray, expected: NumberArray): string | undefined {
  if (actual.constructor !== expected.constructor) {
    return `actual is a ${actual.constructor.name}, expected a ${expected.constructor.name}`;
  }
  if (actual.length !== expected.length) {
    return `actual has ${actual.length} elements, expected ${expected.length}`;
  }
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i])) {
      return `element ${i} of ${actual.length}: actual ${actual[i]}, expected ${expected[i]}`;
    }
  }
  return undefined;
}

function sharedWith(actual: unknown, expected: unknown): unknown {
  if (!isPlain(actual) || !isPlain(expected)) return actual;
  if (Array.isArray(actual) !== Array.isArray(expected)) return actual;
  const shared: Record<PropertyKey, unknown> = Array.isArray(actual)
    ? Object.assign([])
    : Object.create(Object.getPrototypeOf(expected));
  for (const key of Reflect.ownKeys(expected)) {
    if (key !== "length" && key in actual) shared[key] = sharedWith(actual[key], expected[key]);
  }
  return shared;
}

function isPlain(value: unknown): value is Record<PropertyKey, unknown> {
  if (typeof value !== "object" || value === null) return false;
  if (ArrayBuffer.isView(value) || value instanceof Map || value instanceof Set) return false;
  return !(value instanceof Date) && !(value instanceof RegExp);
}
