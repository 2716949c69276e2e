/** The figures of a process whose memory is served, whoever handed it over. */

import { LazyCounter, type LazyState } from "./lazy_state.ts";

/** Figures of one process. Pages are of 4 KiB, whatever those of its regions. */
export interface LazyStatistics {
  /** The process; 0 when it is out of sight. */
  readonly pid: number;
  /** Bytes of its regions. */
  readonly total: number;
  /** Faults heard of. */
  readonly faults: number;
  /** Pages placed because somebody waited for them. */
  readonly urgent: number;
  /** Pages placed that nobody had asked for. */
  readonly background: number;
  /** Pages that the process removed, each as often as it did. */
  readonly removed: number;
  /** Times that the kernel refused a page, because the map of the memory was changing. */
  readonly parked: number;
  /** Pages marked so that a touch gets SIGBUS. */
  readonly poisoned: number;
  /** Faults that wait now. */
  readonly waiting: number;
}

/** What is known of a process. */
export interface ServedProcess {
  readonly pid: number;
  readonly total: number;
  readonly state: LazyState;
}

/**
 * Its figures so far.
 *
 * @param waiting faults that wait now; default as its task has counted them
 */
export function statisticsOf(
  { pid, total, state }: ServedProcess,
  waiting: number = state.get(LazyCounter.WAITING),
): LazyStatistics {
  return {
    pid,
    total,
    faults: state.get(LazyCounter.FAULTS),
    urgent: state.get(LazyCounter.URGENT_PAGES),
    background: state.get(LazyCounter.BACKGROUND_PAGES),
    removed: state.get(LazyCounter.REMOVALS),
    parked: state.get(LazyCounter.PARKED),
    poisoned: state.get(LazyCounter.POISONED),
    waiting,
  };
}
