/** What a restore cost its guest and the two ends. */

import type { Seen } from "./work_lost.ts";

/** One restore; what is not there nobody counted. Times in ms from when the destination heard the source, unless said otherwise. */
export interface Figures {
  /** What the guest did: see {@linkcode workLost}. */
  readonly seen: Seen;
  /** ms in which the guest's processor waited for pages; undefined where nobody counts it. */
  readonly blocktime?: number | undefined;
  /** Faults that asked the source. */
  readonly faults?: number | undefined;
  /** Their mean, ns; undefined before QEMU 10.1. */
  readonly latency?: number | undefined;
  /** Until the guest ran. */
  readonly running?: number | undefined;
  /** Until all memory was there. */
  readonly total?: number | undefined;
  /** CPU seconds of the source, without its guest's processor; of `serve` its start included. */
  readonly sourceCpu?: number | undefined;
  /** The same of the destination; of ours with its guest's threads. */
  readonly destinationCpu?: number | undefined;
}

/** How long a guest is looked at, ms. */
export interface Timing {
  /** From when it runs: the time in which work is lost. */
  readonly window: number;
  /** From when nothing goes on any more until its undisturbed pace is taken. */
  readonly settle: number;
  /** In which its pace is taken. */
  readonly undisturbed: number;
}

/** The issue's: work lost in the first three seconds. */
export const TIMING: Timing = { window: 3000, settle: 300, undisturbed: 1000 };
