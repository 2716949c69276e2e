/** What is migrated: how, and how fast its guest writes. */

import { UsageError } from "../support/options.ts";
import type { Postcopy } from "./move.ts";

/** Ways to migrate, by the names of the command line. */
export const WAYS = ["precopy", "postcopy", "hybrid"] as const;

/** One of {@linkcode WAYS}. */
export type Way = typeof WAYS[number];

/** Rounds of precopy before a hybrid migration switches. */
export const HYBRID_ROUNDS = 2;

/** One row of the tables. */
export interface Scenario {
  /** How it migrates. */
  readonly way: Way;
  /** Bytes that the guest dirties a second, as a share of the link's rate. */
  readonly share: number;
}

/** When a way switches to postcopy. */
export function postcopyOf(way: Way): Postcopy {
  return way === "precopy" ? "never" : way === "postcopy" ? "now" : HYBRID_ROUNDS;
}

/**
 * Tells whether precopy alone can end. Close to the link's rate it may or may not: what a guest
 * dirties twice within a round is sent once.
 */
export function converges({ way, share }: Scenario): boolean {
  return way !== "precopy" || share < 0.9;
}

/**
 * Lists the rows. Where precopy converges, rounds before a switch are precopy, so that hybrid is
 * left to guests that write too fast for it, unless nothing else is asked for.
 */
export function scenarios(ways: readonly Way[], shares: readonly number[]): Scenario[] {
  const fast = shares.some((share) => share >= 0.9);
  return ways.flatMap((way) =>
    shares.filter((share) => way !== "hybrid" || share >= 0.9 || !fast)
      .map((share) => ({ way, share }))
  );
}

/** Writes a scenario for a table. */
export function formatScenario({ way, share }: Scenario): string {
  const name = way === "hybrid" ? `hybrid, ${HYBRID_ROUNDS} rounds` : way;
  return `${name}, ${Math.round(share * 100)} %`;
}

/**
 * Reads a list of per cents separated by commas.
 *
 * @returns shares, 1 for 100
 * @throws {UsageError} when one is none
 */
export function sharesOption(
  text: string | boolean | undefined,
  otherwise: readonly number[],
): readonly number[] {
  if (text === undefined) return otherwise;
  return String(text).split(",").map((word) => {
    const percent = Number(word);
    if (percent > 0 && percent <= 1000) return percent / 100;
    throw new UsageError(`--share takes per cents of the link's rate separated by commas: ${word}`);
  });
}
