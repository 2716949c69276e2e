/** Measuring in turn, so that a machine which changes meanwhile changes for all that is compared. */

import { waitForIdleMachine } from "./cpu_time.ts";
import { progress } from "./progress.ts";

/** Of a processor's time, below which it is told that others use the machine. */
const IDLE = 0.8;

/** What is measured in turn. */
export interface Turns<T> {
  readonly each: readonly T[];
  /** How often. */
  readonly runs: number;
  /** Seconds that are waited for an idle machine before each, at most. */
  readonly idleWait: number;
  /** Told when a run begins; absent: nothing is. */
  readonly title?: (run: number) => string;
}

/**
 * Measures everything as often as asked for, every other time in reverse, when the machine is idle.
 *
 * @param act measures one of them, in the run of this number, from 0 on
 */
export async function inTurns<T>(
  { each, runs, idleWait, title }: Turns<T>,
  act: (one: T, run: number) => Promise<void>,
): Promise<void> {
  for (let run = 0; run < runs; run++) {
    if (title !== undefined) progress(title(run));
    for (const one of run % 2 === 0 ? each : each.toReversed()) {
      const { idle } = await waitForIdleMachine(idleWait);
      if (idle < IDLE) progress(`  the machine is ${(idle * 100).toFixed(0)} % idle`);
      await act(one, run);
    }
  }
}
