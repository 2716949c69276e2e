/** How many pages go before the guest runs. */

/** What was seen of what is sent before. */
export interface EarlyProgress {
  /** Nanoseconds since the first of it was gathered. */
  readonly elapsed: number;
  /** Of these, nanoseconds for which nothing was to be sent: a disk was waited for, or a limit held. */
  readonly idle: number;
  /** Bytes given to the socket. */
  readonly sent: number;
  /** Of these, bytes that the destination has not acknowledged. */
  readonly unacknowledged: number;
  /** Runs of pages that are left: each is a discard, which the destination obeys before the guest runs. */
  readonly runs: number;
}

/**
 * Most runs of pages that are left: some 2 us each at the destination, and 16 bytes. Pages that follow one another
 * make none, so that this bounds only what lies scattered.
 */
export const MOST_RUNS = 16_384;

/** Bytes that go before anything is known of the link: at 10 Mbit/s they take 0.2 s. */
export const UNKNOWN_BYTES = 256 * 1024;

/** What is done next: a batch is sent; it is looked again soon, when the link may have shown its pace; it is over. */
export type EarlyAct = "send" | "wait" | "end";

/**
 * Tells whether another batch goes before the guest runs: all that is sent is to be there in time, by what the
 * link has taken so far.
 *
 * @param bytes of the batch
 * @param limit nanoseconds
 */
export function earlyAct(
  { elapsed, idle, sent, unacknowledged, runs }: EarlyProgress,
  bytes: number,
  limit: number,
): EarlyAct {
  if (elapsed >= limit || runs >= MOST_RUNS) return "end";
  const taken = sent - unacknowledged;
  if (taken <= 0) return sent + bytes <= UNKNOWN_BYTES ? "send" : "wait";
  const pace = taken / (elapsed - idle);
  return elapsed + (unacknowledged + bytes) / pace <= limit ? "send" : "end";
}
