/** Exact percentiles of recorded samples. */

/**
 * Returns the smallest sample that at least a share of all samples do not exceed (nearest rank).
 *
 * @param sorted samples in ascending order
 * @param share 0.5 for the median, 0.99 for p99
 * @returns 0 when there are no samples
 */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return 0;
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(Math.max(rank, 1), sorted.length) - 1]!;
}
