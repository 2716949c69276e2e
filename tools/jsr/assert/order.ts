import { failed, show } from "./assertion_error.ts";

/** Asserts `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) failed(`Expect ${show(actual)} > ${show(expected)}`, msg);
}

/** Asserts `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) failed(`Expect ${show(actual)} >= ${show(expected)}`, msg);
}

/** Asserts `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) failed(`Expect ${show(actual)} < ${show(expected)}`, msg);
}

/** Asserts `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) failed(`Expect ${show(actual)} <= ${show(expected)}`, msg);
}

/**
 * Asserts that two numbers differ by at most `tolerance`.
 *
 * @param tolerance Largest difference allowed; `1e-7` of `expected` by default.
 */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  if (Math.abs(expected - actual) <= allowed) return;
  failed(`Expected actual: ${actual} to be close to ${expected} within ${allowed}`, msg);
}
