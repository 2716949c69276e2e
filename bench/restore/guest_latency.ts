/** What a restored guest saw of its faults, from what it prints: for a QEMU without the statistic. */

import { type GuestLatency, parseRoundLine } from "../../qemu/boot_sector.ts";

/** A line of the guest's, and when it came, in ms. */
export interface TimedLine {
  readonly text: string;
  readonly arrivedAt: number;
}

/** Latency that the guest's one processor saw. */
export interface GuestSeenLatency {
  /** Touches that took longer than a touch of memory in place ever should. */
  readonly slow: number;
  /** Their mean, ns. */
  readonly mean: number;
}

/** Rounds in which the memory arrives: what is left of the round in which it was saved, and the next. */
const ARRIVING = 2;
/** A touch of [2^15, 2^16) ticks or more waited: 8 us and more at 4 GHz. */
const SLOW_BUCKET = 15;

/**
 * Takes the faults out of the guest's touch latencies: what the touches of its first two rounds took
 * beyond those of the round after, over the number of slow ones.
 *
 * @param lines all of the guest's lines since it was restored
 * @returns undefined when it printed fewer than three rounds with latencies, or touched nothing slowly
 */
export function guestSeenLatency(lines: readonly TimedLine[]): GuestSeenLatency | undefined {
  const rounds: { latency: GuestLatency; arrivedAt: number }[] = [];
  for (const { text, arrivedAt } of lines) {
    const latency = parseRoundLine(text)?.latency;
    if (latency !== undefined) rounds.push({ latency, arrivedAt });
  }
  const [first, quiet] = [rounds[0], rounds[ARRIVING]];
  if (first === undefined || quiet === undefined) return undefined;
  const ticksPerMillisecond = (quiet.latency.tsc - first.latency.tsc) /
    (quiet.arrivedAt - first.arrivedAt);
  let slow = 0;
  let ticks = 0;
  for (const { latency } of rounds.slice(0, ARRIVING)) {
    slow += slowTouches(latency) - slowTouches(quiet.latency);
    ticks += latency.sum - quiet.latency.sum;
  }
  if (slow <= 0 || ticks <= 0) return undefined;
  return { slow, mean: ticks / slow / ticksPerMillisecond * 1e6 };
}

function slowTouches({ histogram }: GuestLatency): number {
  return histogram.slice(SLOW_BUCKET).reduce((sum, count) => sum + count, 0);
}
