/** When to stop copying the memory of a running guest. */

/** What may end precopy by a switch to postcopy. */
export type PostcopyPolicy =
  /** Nothing: precopy goes on until the rest fits the downtime. */
  | "never"
  /** Rounds that leave as much to send as those before them. */
  | "auto"
  /** At once: nothing is copied before. */
  | "now"
  /** So many rounds. */
  | number;

/** A round that leaves more than this part of what the round before it left has not helped. */
const HELPED = 0.75;
/** Rounds in a row that did not help before it counts. */
const PATIENCE = 2;

/** Watches the rounds of a precopy. */
export class Convergence {
  #before = Infinity;
  #useless = 0;

  /**
   * A round is over.
   *
   * @param remaining pages to send in the next one
   */
  roundEnded(remaining: number): void {
    this.#useless = remaining > this.#before * HELPED ? this.#useless + 1 : 0;
    this.#before = remaining;
  }

  /** True when going on will not lead to an end: the guest writes as fast as the link takes it. */
  get stuck(): boolean {
    return this.#useless >= PATIENCE;
  }
}

/**
 * Decides on postcopy after a round that left too much for the downtime.
 *
 * @param policy what the user wants
 * @param rounds rounds that are over
 * @param convergence what they led to
 */
export function switchesToPostcopy(
  policy: PostcopyPolicy,
  rounds: number,
  convergence: Convergence,
): boolean {
  switch (policy) {
    case "never":
      return false;
    case "now":
      return true;
    case "auto":
      return convergence.stuck;
    default:
      return rounds >= policy;
  }
}
