/** A latency histogram drawn with block characters, its buckets named as QEMU's monitor names them. */

import { formatCount } from "./units.ts";

/** A block of one to eight eighths of a character's width. */
const EIGHTHS = ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/**
 * Names the lower limit of a bucket: bucket N starts at 2^N us.
 *
 * @returns for example `"64 us"`, `"1 ms"` (1024 us), `"2 sec"` (2^21 us)
 */
export function bucketLimit(bucket: number): string {
  const unit = bucket < 10 ? "us" : bucket < 20 ? "ms" : "sec";
  return `${2 ** (bucket % 10)} ${unit}`;
}

/**
 * Draws a bar.
 *
 * @param share of the width, 0 to 1; anything above 0 shows at least an eighth of a character
 * @param width characters of a full bar
 */
export function formatBar(share: number, width: number): string {
  if (share <= 0) return "";
  const eighths = Math.max(1, Math.round(Math.min(share, 1) * width * 8));
  const rest = eighths % 8;
  return "█".repeat(Math.floor(eighths / 8)) + (rest === 0 ? "" : EIGHTHS[rest - 1]);
}

/**
 * Draws the counts of power-of-two latency buckets, a line each, from the first bucket that holds
 * anything to the last that does.
 *
 * @param buckets counts; bucket N holds latencies of 2^N us to 2^(N+1) us
 * @param width characters of the longest bar
 * @returns lines without line ends; none when all buckets are empty
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatLatencyChart } from "./latency_chart.ts";
 *
 * assertEquals(formatLatencyChart([0, 0, 0, 0, 0, 0, 3, 6], 4), [
 *   "  64 us -  128 us  3  ██",
 *   " 128 us -  256 us  6  ████",
 * ]);
 * ```
 */
export function formatLatencyChart(buckets: readonly number[], width = 40): string[] {
  const first = buckets.findIndex((count) => count > 0);
  if (first < 0) return [];
  const last = buckets.findLastIndex((count) => count > 0);
  const most = Math.max(...buckets);
  const digits = formatCount(most).length;
  const lines: string[] = [];
  for (let bucket = first; bucket <= last; bucket++) {
    const count = buckets[bucket]!;
    const range = `${bucketLimit(bucket).padStart(7)} - ${bucketLimit(bucket + 1).padStart(7)}`;
    const bar = formatBar(count / most, width);
    lines.push(`${range}  ${formatCount(count).padStart(digits)}  ${bar}`.trimEnd());
  }
  return lines;
}
