/** Another program and ours, measured in turns. */

import { significant } from "../support/markdown.ts";
import { ratioOfPairs, spread } from "../support/statistics.ts";

/** Two measurements, one behind the other. */
export interface Pair<T> {
  readonly other: T;
  readonly ours: T;
}

/** Takes turns in who begins, so that neither always runs on the warmer machine. */
export async function pairsOf<T>(
  count: number,
  other: () => Promise<T>,
  ours: () => Promise<T>,
): Promise<Pair<T>[]> {
  const pairs: Pair<T>[] = [];
  for (let index = 0; index < count; index++) {
    if (index % 2 === 0) pairs.push({ other: await other(), ours: await ours() });
    else {
      const first = await ours();
      pairs.push({ other: await other(), ours: first });
    }
  }
  return pairs;
}

/** The median of ours over the other's. */
export function ratio<T>(pairs: readonly Pair<T>[], pick: (each: T) => number): number {
  return ratioOfPairs(pairs.map(({ ours }) => pick(ours)), pairs.map(({ other }) => pick(other)))
    .median;
}

/** Three cells of a table: the other's, ours, and ours over the other's. */
export function cells<T>(pairs: readonly Pair<T>[], pick: (each: T) => number): string[] {
  const cell = (values: number[]): string => {
    const { median, least, most } = spread(values);
    return `${significant(median)} (${significant(least)} to ${significant(most)})`;
  };
  return [
    cell(pairs.map(({ other }) => pick(other))),
    cell(pairs.map(({ ours }) => pick(ours))),
    significant(ratio(pairs, pick)),
  ];
}

/** A line on a target. */
export function verdict(met: boolean, text: string): string {
  return `- ${met ? "met" : "MISSED"}: ${text}`;
}
