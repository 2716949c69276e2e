/** Rings in the state that a test begins with. */

import { Own, Shared, WorkRing, type WorkRingsShape } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";

/** As if so many requests had passed. */
export function startCountersAt(buffer: SharedArrayBuffer, workers: number, count: number): void {
  const words = new Int32Array(buffer);
  for (let worker = 0; worker < workers; worker++) {
    const base = Shared.WORKERS + worker * Own.WORDS;
    for (const counter of [Own.SUBMITTED, Own.COMPLETED, Own.TAKEN, Own.RELEASED]) {
      words[base + counter] = count;
    }
  }
}

/** A request that waits. */
export const REQUEST = 1;

const PAST = -1;

/** Of the rings of {@linkcode makeEnds}. */
export const SHAPE: WorkRingsShape = { workers: 2, capacity: 1, words: 1 };

/** All ends of one set of rings. */
export interface Ends {
  readonly rings: WorkRings;
  /** The same rings from the control plane. */
  readonly other: WorkRings;
  readonly worker: WorkRing;
  readonly idle: WorkRing;
}

/**
 * Ends of rings of which the first worker has entered, and has had as many requests as bring its
 * counters to the wrap.
 *
 * @param requests so many wait for it
 */
export function makeEnds(requests: number): Ends {
  const { buffer } = new WorkRings(SHAPE);
  startCountersAt(buffer, SHAPE.workers, 2 ** 31 - 2);
  const rings = new WorkRings(SHAPE, buffer);
  const worker = new WorkRing(SHAPE, buffer, 0);
  const idle = new WorkRing(SHAPE, buffer, 1);
  worker.enter();
  for (let past = 0; past < 2; past++) {
    submit(rings, PAST);
    worker.next();
    worker.finish();
    rings.take();
    rings.release();
  }
  for (let request = 0; request < requests; request++) submit(rings);
  return { rings, other: new WorkRings(SHAPE, buffer), worker, idle };
}

/** Submits one request. */
export function submit(rings: WorkRings, request = REQUEST): void {
  rings.words[rings.at(rings.reserve())] = request;
  rings.submit();
}
