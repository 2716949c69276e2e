/** What a guest did less than it would have done undisturbed. Pure: samples in, milliseconds out. */

import { median } from "../support/statistics.ts";

/** What a guest did since its sample before. */
export interface WorkSample {
  /** When it said so, ms. */
  readonly at: number;
  /** Units of work, of whatever kind. */
  readonly work: number;
}

/** A stretch of time, ms on the samples' clock. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** What a guest did when disturbed and when not: its work, or one job that it was given. */
export type Seen =
  | {
    /** Units of work in the window after it ran. */
    readonly done: number;
    /** Units of work a millisecond, undisturbed. */
    readonly pace: number;
  }
  | {
    /** ms from when the guest ran until its job was done. */
    readonly took: number;
    /** The same undisturbed. */
    readonly undisturbed: number;
  };

/** Samples that a stretch must hold for a pace. */
const LEAST_SAMPLES = 3;
/** Samples before a stop from which the pace then is taken: about a second's. */
const SAMPLES_BEFORE_STOP = 10;

/** Tells whether samples reach to the end of a stretch, and enough of them lie in it or behind it. */
export function tellsPace(samples: readonly WorkSample[], { from, to }: Stretch): boolean {
  const later = samples.filter(({ at }) => at >= from);
  return later.length >= LEAST_SAMPLES && later.at(-1)!.at >= to;
}

/**
 * Works out the pace in a stretch: from the first sample in it to the last.
 *
 * @returns units of work a millisecond
 * @throws {RangeError} when it holds too few samples, or no work was done
 */
export function paceIn(samples: readonly WorkSample[], { from, to }: Stretch): number {
  const within = samples.filter(({ at }) => at >= from && at <= to);
  if (within.length < LEAST_SAMPLES) {
    throw new RangeError(
      `Guest said too little of its undisturbed pace, samples: ${within.length}`,
    );
  }
  const work = within.slice(1).reduce((sum, sample) => sum + sample.work, 0);
  const time = within.at(-1)!.at - within[0]!.at;
  if (!(work > 0 && time > 0)) throw new RangeError(`Guest did no work in ms: ${time}`);
  return work / time;
}

/**
 * Works out how much was done by some time since a begin: even between two samples.
 *
 * @param carried work of the first sample that was done before the begin, where the guest ran last
 * @throws {RangeError} when the samples end before that time
 */
export function workBy(
  samples: readonly WorkSample[],
  begin: number,
  end: number,
  carried: number,
): number {
  let at = begin;
  let done = 0;
  let before = carried;
  for (const sample of samples) {
    const work = Math.max(0, sample.work - before);
    before = Math.max(0, before - sample.work);
    if (sample.at >= end) {
      // Of samples that came together after a wait, all but the first fill no time.
      return sample.at <= at ? done : done + work * (end - at) / (sample.at - at);
    }
    at = Math.max(at, sample.at);
    done += work;
  }
  throw new RangeError(`Guest was not heard until ms after it ran: ${end - begin}`);
}

/**
 * Works out what a guest did in a window after it began to run, and what it does undisturbed.
 *
 * @param samples in the order of time, from where it runs now
 * @param window the time looked at; it begins when the guest ran
 * @param undisturbed when nothing disturbed it any more
 * @param carried work of the first sample that was done before, where it ran last
 * @throws {RangeError} when the samples do not reach so far
 */
export function workSeen(
  samples: readonly WorkSample[],
  window: Stretch,
  undisturbed: Stretch,
  carried = 0,
): Seen {
  const pace = paceIn(samples, undisturbed);
  return { done: workBy(samples, window.from, window.to, carried), pace };
}

/**
 * Tells what each of several runs of the same guest at the same place lost. What undisturbed means is
 * the same for all of them, the median: one run's own pace is taken in two seconds, in which anything
 * else may happen on the machine.
 *
 * @param window ms in which work is lost; a job may take longer
 * @returns undisturbed time that would make up for the work not done, ms, in the order of the runs;
 * negative where more was done
 */
export function workLost(runs: readonly Seen[], window: number): number[] {
  if (runs.length === 0) return [];
  const reference = undisturbed(runs);
  return runs.map((run) => "done" in run ? window - run.done / reference : run.took - reference);
}

/** Units of work a millisecond, or ms that a job takes: the median over runs of the same guest. */
export function undisturbed(runs: readonly Seen[]): number {
  return median(runs.map((run) => "done" in run ? run.pace : run.undisturbed));
}

/**
 * Estimates what a guest did between its last sample and its stop: it says so only where it runs next.
 *
 * @param samples all that it gave there
 * @param stopped when it was stopped, ms on the samples' clock
 * @throws {RangeError} when there are too few samples
 */
export function carriedWork(samples: readonly WorkSample[], stopped: number): number {
  const latest = samples.slice(-SAMPLES_BEFORE_STOP);
  const pace = paceIn(latest, { from: -Infinity, to: Infinity });
  // The last sample may be heard after the stop is.
  return pace * Math.max(0, stopped - latest.at(-1)!.at);
}
