/** The background streams of all sessions at once. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { sharedBytesOf } from "./process_cost.ts";
import { type ProcessesSetup, SessionProcesses } from "./processes.ts";

/** How the streams went. */
export interface StreamFigures {
  /** Bytes of all guests. */
  readonly bytes: number;
  /** Bytes a second from the first session made to the last page in place. */
  readonly wholeRate: number;
  /** Bytes a second while the middle eight tenths of the memory arrived. */
  readonly rate: number;
  /** CPU seconds of the server for 10^9 bytes sent, its sessions' start included. */
  readonly cpuPerGigabyte: number;
}

/** Bytes that had arrived at a moment. */
export interface Arrived {
  /** Monotonic nanoseconds. */
  readonly at: number;
  readonly bytes: number;
}

/** Milliseconds between two looks. */
const INTERVAL = 10;

/** Returns when so many bytes had arrived, on a straight line between two looks. */
function reachedAt(arrivals: readonly Arrived[], bytes: number): number {
  const next = arrivals.findIndex((each) => each.bytes >= bytes);
  if (next <= 0) throw new RangeError(`Arrivals do not lie on both sides of ${bytes} bytes`);
  const before = arrivals[next - 1]!;
  const after = arrivals[next]!;
  const share = (bytes - before.bytes) / (after.bytes - before.bytes);
  return before.at + share * (after.at - before.at);
}

/**
 * Returns the rate at which the middle eight tenths of some bytes arrived: without the first sessions, that
 * have the machine to themselves, and the last.
 *
 * @param arrivals in their order
 * @param total bytes that arrive
 * @returns bytes a second
 */
export function middleRate(arrivals: readonly Arrived[], total: number): number {
  const from = reachedAt(arrivals, total * 0.1);
  const to = reachedAt(arrivals, total * 0.9);
  return total * 0.8 / (to - from) * 1e9;
}

/** Sums what has arrived, seen from outside: nobody is asked while pages arrive. */
async function arrived(pids: readonly number[]): Promise<number> {
  const each = await Promise.all(pids.map(sharedBytesOf));
  return each.reduce((sum, bytes) => sum + bytes, 0);
}

/** Looks at what arrives until a promise settles. */
async function watch(pids: readonly number[], end: Promise<unknown>): Promise<Arrived[]> {
  const arrivals: Arrived[] = [];
  let over = false;
  end.finally(() => over = true);
  while (!over) {
    arrivals.push({ at: monotonicNanoseconds(), bytes: await arrived(pids) });
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
  return arrivals;
}

/**
 * Lets all sessions stream at once, nothing being asked for.
 *
 * @param size bytes of each guest
 */
export async function measureStreams(setup: ProcessesSetup, size: number): Promise<StreamFigures> {
  await using processes = new SessionProcesses(setup);
  await processes.loaded();
  // Memory of memfds is told from all other memory of a process.
  const listening = await processes.listen("memfd");
  const before = await cpuSeconds(processes.server.pid);
  const bytes = size * setup.sessions;
  const over = Promise.withResolvers<void>();
  const watched = watch(processes.pids, over.promise);
  try {
    const from = await processes.open(listening, 0);
    const to = await processes.finished();
    const transferred = await processes.completed();
    const cpu = await cpuSeconds(processes.server.pid) - before;
    over.resolve();
    const arrivals = (await watched).filter(({ at }) => at < to);
    return {
      bytes,
      wholeRate: bytes / (to - from) * 1e9,
      rate: middleRate([...arrivals, { at: to, bytes }], bytes),
      cpuPerGigabyte: cpu / transferred * 1e9,
    };
  } finally {
    over.resolve();
    await watched;
  }
}
