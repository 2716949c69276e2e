/** Measuring again what now and then does not end. */

import { progress } from "./progress.ts";

/**
 * Runs a migration with a QEMU until it ends well: under TCG one now and then stands still, or loses what its
 * guest writes.
 *
 * @param tries at most; the last one's failure is thrown
 * @param what it is, for a note of a run that is not counted
 * @param notes where that is kept
 */
export async function withTries<T>(
  tries: number,
  what: string,
  notes: string[],
  run: () => Promise<T>,
): Promise<T> {
  for (let left = tries;; left--) {
    try {
      return await run();
    } catch (error) {
      if (left === 1) throw error;
      const note = `${what}, not counted: ${(error as Error).message}`;
      progress(`  ${note}`);
      notes.push(note);
    }
  }
}
