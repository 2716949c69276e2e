/** One live migration, whoever does it: what is asked for, and what came of it. */

import type { CpuPlacement } from "../support/cpu_placement.ts";
import type { Link } from "../support/link.ts";

/** When the guest goes over: never before all is copied, at once, or after so many rounds. */
export type Postcopy = "never" | "now" | number;

/** What to migrate, and how. */
export interface Move {
  /** Where the two ends are. */
  readonly link: Link;
  /** On which CPUs. */
  readonly placement: CpuPlacement;
  /** Bytes of the guest's memory, all of it without a zero page. */
  readonly size: number;
  /** Pages that the guest writes a second, all writers together; 0 for a guest at rest. */
  readonly rate: number;
  /** Threads of our guest that share the rate; QEMU's has one processor. */
  readonly writers: number;
  /** When to switch. */
  readonly postcopy: Postcopy;
  /** Milliseconds after which a migration that has not switched yet is cancelled. */
  readonly limit: number;
  /** Seconds that a guest of ours runs before it moves; by default enough for the figures to be right. */
  readonly warmUp?: number;
}

/** Accesses of the guest that waited. */
export interface Waits {
  /** How many. */
  readonly count: number;
  /** Their mean, ns. */
  readonly mean: number;
  /** 99 of 100 were shorter, ns; of QEMU's guest the upper edge of a power-of-two bin. */
  readonly p99: number;
}

/** How it went. */
export interface MoveFigures {
  /** False when it had not converged within the limit and was cancelled. */
  readonly completed: boolean;
  /** ms by the source's own count, until the destination has everything; of a cancelled one until then. */
  readonly total: number;
  /** ms of these before the first page could be sent. */
  readonly setup: number;
  /**
   * ms in which no processor of the guest ran at either end: from the source's stop to the
   * destination's start by the clock of this host. Undefined for a cancelled one.
   */
  readonly downtime: number | undefined;
  /** ms as the source reports it. */
  readonly reported: number | undefined;
  /** Bytes sent. */
  readonly transferred: number;
  /** Times that the dirty pages were collected. */
  readonly rounds: number;
  /** Pages that the guest wrote a second at the source, before the migration and during it. */
  readonly sourceRate: number;
  /** The same at the destination, until all memory was there; undefined when it did not run there. */
  readonly destinationRate: number | undefined;
  /** Accesses that waited at the destination; undefined when there was none, or nobody counted. */
  readonly waits: Waits | undefined;
  /** CPU seconds of the source's process from the begin of the migration to its end. */
  readonly sourceCpu: number;
  /** The same of the destination's process. */
  readonly destinationCpu: number;
}
