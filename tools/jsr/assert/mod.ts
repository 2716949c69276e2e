/**
 * Stand-in for `@std/assert`: the functions this project uses, with the same signatures.
 *
 * @module
 */

export { AssertionError } from "./assertion_error.ts";
export {
  assertEquals,
  assertNotEquals,
  assertNotStrictEquals,
  assertObjectMatch,
  assertStrictEquals,
  equal,
} from "./equality.ts";
export {
  assertAlmostEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertLessOrEqual,
} from "./order.ts";
export { assertArrayIncludes, assertMatch, assertNotMatch, assertStringIncludes } from "./text.ts";
export { assertIsError, assertRejects, assertThrows } from "./throwing.ts";
export {
  assert,
  assertExists,
  assertFalse,
  assertInstanceOf,
  assertNotInstanceOf,
  fail,
  unimplemented,
  unreachable,
} from "./truth.ts";
export type { AnyConstructor, GetConstructorType } from "./truth.ts";
export type { ArrayLikeArg } from "./text.ts";
