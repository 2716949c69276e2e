/** Which of the connections that say nothing may be kept, when there are too many. */

import { descriptorLimit } from "../../ffi/descriptor_limit.ts";

/**
 * Connections that are kept although they have not said who they are. The preempt channel of a source is
 * among them; the rule of {@linkcode leastLikely} sees to it that it stays.
 */
export const MOST_CALLERS = 256;
/** However few descriptors there are. */
const LEAST_CALLERS = 16;
/** Part of the descriptors that a process may have which one migration leaves to those. */
const DESCRIPTOR_SHARE = 8;

/** How many of them one migration of this process may keep: the process has other uses for descriptors. */
export function callerLimit(descriptors: number = descriptorLimit()): number {
  const share = Math.floor(descriptors / DESCRIPTOR_SHARE);
  return Math.min(MOST_CALLERS, Math.max(LEAST_CALLERS, share));
}

/** What is known of a connection that has not said who it is. */
export interface CallerFacts {
  /** Its host, see `peerHost`. */
  readonly peer: string;
  /** The how-manieth it was to be accepted, counted at its listener. */
  readonly order: number;
}

/**
 * Returns who has to go: the one that is least likely to be a channel of the migration. A source opens both
 * channels from one host and one soon after the other. So those from other hosts go first, from the host
 * that has most of them the one that came first; and of those from the source's host the one that came longest
 * before or after the main channel. While nobody knows the main channel, all hosts are alike: a host that
 * floods the port pushes out its own.
 *
 * @param callers at least one, in the order in which they came
 * @param main the main channel, once it is known
 * @returns an index of them
 */
export function leastLikely(callers: readonly CallerFacts[], main?: CallerFacts): number {
  const counts = new Map<string, number>();
  for (const { peer } of callers) {
    if (peer !== main?.peer) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  }
  if (counts.size > 0) {
    const [most] = [...counts].reduce((a, b) => b[1] > a[1] ? b : a);
    return callers.findIndex(({ peer }) => peer === most);
  }
  let farthest = 0;
  callers.forEach(({ order }, index) => {
    const distance = Math.abs(order - main!.order);
    if (distance > Math.abs(callers[farthest]!.order - main!.order)) farthest = index;
  });
  return farthest;
}

/**
 * Tells whether silence is no sign of a preempt channel: the connection comes from another host than the main
 * channel, and one that is as silent comes from the same.
 *
 * @param main the main channel; undefined while it is not known, when nobody may be silent for long
 */
export function mayNotBeSilent(
  { peer }: CallerFacts,
  callers: readonly CallerFacts[],
  main?: CallerFacts,
): boolean {
  if (main === undefined) return true;
  return peer !== main.peer && callers.some((other) => other.peer === main.peer);
}
