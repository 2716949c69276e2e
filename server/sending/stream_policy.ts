/** How the background stream behaves while pages are asked for: what is decided, from what was seen. */

/** What was seen of a link and of what is left. */
export interface StreamSeen {
  /** Bytes a nanosecond that the link and the destination take; 0: not known. */
  readonly pace: number;
  /** Nanoseconds to the other end and back, when nothing waits on the way. */
  readonly roundTrip: number;
  /** Bytes of a full segment. */
  readonly segment: number;
  /** Bytes of the pages that are left. */
  readonly left: number;
  /** Whether the stream is held below a bandwidth: to yield costs it nothing then. */
  readonly limited: boolean;
}

/** What is done while pages are asked for. */
export interface Manners {
  /** Bytes that may be unacknowledged when a batch starts. */
  readonly wire: number;
  /** Whether no batch starts while a requested page is being sent. */
  readonly yields: boolean;
  /** Looks at a wire that is full, after which it counts as one that does not keep up. */
  readonly patience: number;
}

/** Bytes that may be on the wire of whatever link. */
const LEAST_ON_THE_WIRE = 16 * 1024;
/** Less than two full segments would wait for the peer's delayed acknowledgement. */
const SEGMENTS_ON_THE_WIRE = 2;
/**
 * Nanoseconds that a requested page may wait behind the stream. Two looks whether the wire has room lie 50 to 250
 * us apart: with less than that on it the link idles in between, and its pace is never seen. 1 Gbit/s, total time
 * over QEMU's and mean wait over QEMU's: 0.3 ms 1.4 and 0.25, 1 ms 1.1 and 0.5.
 */
const QUEUE = 600e3;
/**
 * Nanoseconds in which all can be there, when the stream yields to nobody. Where processors are short, to yield
 * takes the stream a third of its pace: a guest that asks all the time is helped more by an early end than by
 * quick answers, each of which costs the destination the processor time of ten pages.
 */
const SOON = 4e9;

/** Bytes of a batch: at least so many when the wire has room, and when the other end does not keep up. */
const LEAST_BATCH = 64 * 1024;
const LEAST_SLOW_BATCH = 32 * 1024;

/**
 * Tells how many bytes the next batch may have while pages are asked for.
 *
 * @param wire bytes that may be unacknowledged when a batch starts
 * @param slow whether the link, or the other end, does not keep up
 */
export function batchBytes(wire: number, slow: boolean): number {
  return slow ? Math.max(LEAST_SLOW_BATCH, wire / 4) : Math.max(LEAST_BATCH, wire / 2);
}

/**
 * Tells what may be on the wire, and whether the stream yields. An urgent page has a channel of its own, but the
 * link's queue is shared: what the stream has there goes first.
 */
export function manners({ pace, roundTrip, segment, left, limited }: StreamSeen): Manners {
  const segments = segment * SEGMENTS_ON_THE_WIRE;
  const wire = Math.max(LEAST_ON_THE_WIRE, segments, pace * (roundTrip + QUEUE));
  // On a link the wire is what urgent pages wait for, and one look says that it is full. Segments of 64 KiB are
  // loopback's, where what was sent counts as acknowledged at once: who does not keep up there is short of CPU,
  // which urgent threads need too (a QEMU destination on two cores: 75 us a fault instead of 136).
  if (segments <= LEAST_ON_THE_WIRE) return { wire, yields: true, patience: 0 };
  return { wire, yields: limited || left > pace * SOON, patience: 2 };
}
