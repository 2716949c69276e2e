/** The statistics' histograms as Prometheus has them. */

import { LATENCY_BUCKETS } from "../../migration/threads/histogram.ts";

/** One bucket of a Prometheus histogram: all that took no longer than its limit. */
export interface Bucket {
  /** Its limit in seconds, as the label `le` has it. */
  readonly le: string;
  readonly count: number;
}

/**
 * Limits in seconds of all buckets but the last, which has none: bucket N counts [2^N us, 2^(N+1) us), those below
 * 1 us too in the first, and the last one all that is longer. `le` includes its limit, and the counts do not: of
 * latencies of exactly so many microseconds nobody asks.
 */
const LIMITS: readonly string[] = Array.from(
  { length: LATENCY_BUCKETS - 1 },
  // Of 2^N / 10^6 with all digits, as 0.000128: a limit must be written the same for ever.
  (_, bucket) => (2 ** (bucket + 1) / 1e6).toFixed(6),
);

/**
 * Adds counts up, from the shortest latencies on.
 *
 * @param counts of each bucket
 * @returns as many, the last with the limit `+Inf`
 */
export function cumulative(counts: readonly number[]): Bucket[] {
  let sum = 0;
  return Array.from({ length: LATENCY_BUCKETS }, (_, bucket) => {
    sum += counts[bucket] ?? 0;
    return { le: LIMITS[bucket] ?? "+Inf", count: sum };
  });
}
