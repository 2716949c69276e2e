/** How a time grows with a number. */

/**
 * Returns the exponent of the power law that fits best: the slope of a line through the logarithms, by
 * least squares. 1 is linear growth; a part of the time that is always the same makes it less.
 *
 * @throws {RangeError} for fewer than two points, or numbers that are not above 0
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { exponent } from "./fit.ts";
 *
 * assertAlmostEquals(exponent([1, 2, 4], [3, 12, 48]), 2);
 * ```
 */
export function exponent(counts: readonly number[], times: readonly number[]): number {
  if (counts.length !== times.length || counts.length < 2) {
    throw new RangeError(`Cannot fit points: ${counts.length} and ${times.length}`);
  }
  if ([...counts, ...times].some((value) => !(value > 0))) {
    throw new RangeError("Cannot fit numbers that are not above 0");
  }
  const xs = counts.map(Math.log);
  const ys = times.map(Math.log);
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(xs), mean(ys)];
  const slope = xs.reduce((sum, each, index) => sum + (each - x) * (ys[index]! - y), 0);
  return slope / xs.reduce((sum, each) => sum + (each - x) ** 2, 0);
}
