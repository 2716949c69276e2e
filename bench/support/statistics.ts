/** What a set of measurements comes to. */

import { percentile } from "../../migration/report/percentile.ts";

/** The figures that a table shows of a set of samples, in the unit of the samples. */
export interface Summary {
  /** Samples. */
  readonly count: number;
  /** Arithmetic mean. */
  readonly mean: number;
  /** Half of the samples are at most this. */
  readonly p50: number;
  /** 99 of 100 samples are at most this. */
  readonly p99: number;
  /** The largest. */
  readonly max: number;
}

/** The middle of repeated runs and how far they lie apart. */
export interface Spread {
  /** See {@linkcode median}. */
  readonly median: number;
  /** The smallest. */
  readonly least: number;
  /** The largest. */
  readonly most: number;
}

/**
 * Summarises samples; their order does not matter and is kept.
 *
 * @throws {RangeError} for no samples
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { summarise } from "./statistics.ts";
 *
 * assertEquals(summarise([3, 1, 2]), { count: 3, mean: 2, p50: 2, p99: 3, max: 3 });
 * ```
 */
export function summarise(samples: ArrayLike<number>): Summary {
  if (samples.length === 0) throw new RangeError("No samples to summarise");
  const sorted = Float64Array.from(samples).sort();
  let total = 0;
  for (const sample of sorted) total += sample;
  return {
    count: sorted.length,
    mean: total / sorted.length,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    max: percentile(sorted, 1),
  };
}

/**
 * Returns the median: of an even number of values the mean of the middle two.
 *
 * @throws {RangeError} for no values
 */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("Median of no values");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Returns the median, least and most of repeated runs.
 *
 * @throws {RangeError} for no values
 */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/**
 * Joins the summaries of repeated runs: the median of each figure, but the largest maximum and all
 * samples counted. One disturbed run of three then changes nothing but the maximum.
 *
 * @throws {RangeError} for no runs
 */
export function overRepetitions(runs: readonly Summary[]): Summary {
  return {
    count: runs.reduce((total, run) => total + run.count, 0),
    mean: median(runs.map((run) => run.mean)),
    p50: median(runs.map((run) => run.p50)),
    p99: median(runs.map((run) => run.p99)),
    max: Math.max(...runs.map((run) => run.max)),
  };
}

/**
 * Returns the ratio of two series taken in turn, run by run: what disturbs the machine for a while
 * disturbs both of a pair.
 *
 * @throws {RangeError} when the series are of different length or empty
 */
export function ratioOfPairs(
  measured: readonly number[],
  reference: readonly number[],
): Spread {
  if (measured.length !== reference.length) {
    throw new RangeError(`Series of different length: ${measured.length} and ${reference.length}`);
  }
  return spread(measured.map((value, run) => value / reference[run]!));
}
