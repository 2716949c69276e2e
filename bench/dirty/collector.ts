/** A thread that collects dirty pages at an interval, as a round of precopy does. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { DirtyTracker } from "../../server/live/dirty_tracker.ts";
import type { CollectJob } from "./jobs.ts";

/**
 * Tracks memory, and collects until it is told to end.
 *
 * @param tracking called when writes are tracked
 * @returns the nanoseconds of each collect
 */
export function collectAtIntervals(job: CollectJob, tracking: () => void): Float64Array {
  const end = new Int32Array(job.end);
  const dirty = new PageBitmap(job.pages);
  const samples: number[] = [];
  using tracker = new DirtyTracker(job.tracker);
  tracker.start();
  tracking();
  while (Atomics.wait(end, 0, 0, job.milliseconds) === "timed-out") {
    dirty.clear(0, job.pages);
    const start = monotonicNanoseconds();
    tracker.collect(dirty);
    samples.push(monotonicNanoseconds() - start);
  }
  return Float64Array.from(samples);
}
