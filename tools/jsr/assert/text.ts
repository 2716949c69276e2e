import { equal } from "./equality.ts";
import { failed, show } from "./assertion_error.ts";

/** An array, or an object with a length and indexes. */
export type ArrayLikeArg<T> = ArrayLike<T> & object;

/** Asserts that `actual` contains the text `expected`. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (!actual.includes(expected)) {
    failed(`Expected ${show(actual)} to contain ${show(expected)}`, msg);
  }
}

/** Asserts that `actual` matches the expression. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) failed(`Expected ${show(actual)} to match ${expected}`, msg);
}

/** Asserts that `actual` does not match the expression. */
export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void {
  if (expected.test(actual)) failed(`Expected ${show(actual)} not to match ${expected}`, msg);
}

/** Asserts that every element of `expected` occurs in `actual`, by deep equality. */
export function assertArrayIncludes<T>(
  actual: ArrayLikeArg<T>,
  expected: ArrayLikeArg<T>,
  msg?: string,
): void {
  const found = Array.from(actual);
  const missing = Array.from(expected).filter((wanted) => !found.some((one) => equal(one, wanted)));
  if (missing.length > 0) failed(`Expected ${show(actual)} to include ${show(missing)}`, msg);
}
