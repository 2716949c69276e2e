/** What sessions at rest cost the processes at both ends. */

import { median } from "../support/statistics.ts";
import { descriptorsOf, memoryOf, switchesOf, threadsOf } from "./process_cost.ts";

/** What a group of processes takes. */
export interface Held {
  /** Bytes, their shares of shared pages: PSS. */
  readonly pss: number;
  /** Bytes, shared pages counted in each: RSS. */
  readonly rss: number;
  /** Threads of the process that has most. */
  readonly threads: number;
  /** Descriptors. */
  readonly descriptors: number;
  /** Times a second that one of their threads got up. */
  readonly wakeUps: number;
}

/** What sessions add to it. */
export interface RestFigures {
  /** Before there was a session. */
  readonly before: Held;
  /** With all of them at rest. */
  readonly held: Held;
}

const sum = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** A group of processes: one end of all sessions. */
export type ProcessGroup = readonly number[];

/**
 * Looks at groups of processes while nothing is asked of them. What the JavaScript engine and Deno's pool
 * put off happens in a few of the seconds: the middle one counts.
 *
 * @param seconds how long
 */
export async function lookAtRest(
  groups: readonly ProcessGroup[],
  seconds: number,
): Promise<Held[]> {
  const wakeUps: number[][] = groups.map(() => []);
  for (let second = 0; second < seconds; second++) {
    const before = await Promise.all(groups.map(switches));
    const begin = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const after = await Promise.all(groups.map(switches));
    const took = (performance.now() - begin) / 1000;
    after.forEach((count, group) => wakeUps[group]!.push((count - before[group]!) / took));
  }
  return await Promise.all(groups.map((pids, group) => look(pids, median(wakeUps[group]!))));
}

async function switches(pids: ProcessGroup): Promise<number> {
  return sum(await Promise.all(pids.map(switchesOf)));
}

async function look(pids: ProcessGroup, wakeUps: number): Promise<Held> {
  const memory = await Promise.all(pids.map(memoryOf));
  return {
    pss: sum(memory.map(({ pss }) => pss)),
    rss: sum(memory.map(({ rss }) => rss)),
    threads: Math.max(...await Promise.all(pids.map(threadsOf))),
    descriptors: sum(await Promise.all(pids.map(descriptorsOf))),
    wakeUps,
  };
}

/** What each of some sessions adds to a figure. */
export function perSession(
  { before, held }: RestFigures,
  sessions: number,
  figure: Exclude<keyof Held, "threads">,
): number {
  return (held[figure] - before[figure]) / sessions;
}
