/** The pages that a process had when it was dumped, and where the bytes of each are. */

/** Pages in a row, in the process and where their bytes are. */
export interface PageRun {
  /** First byte, in the process as it was dumped. */
  readonly address: number;
  /** How many. */
  readonly pages: number;
  /** Index of the file that holds them; -1: they are at the source still. */
  readonly file: number;
  /** First byte in the file. */
  readonly offset: number;
}

/** One process of the images. Plain data, for `postMessage`. */
export interface DumpedProcess {
  /** Its number, in its own PID namespace. */
  readonly pid: number;
  /** Sorted by address, without overlap. */
  readonly runs: readonly PageRun[];
}

/** Numbers the pages of a process from 0 on, run by run, and finds where each is. Looking up allocates nothing. */
export class PageRuns {
  readonly runs: readonly PageRun[];
  /** Pages of all runs. */
  readonly pageCount: number;
  readonly #firstPages: readonly number[];
  #last = 0;

  /** @param runs sorted by address */
  constructor(runs: readonly PageRun[]) {
    this.runs = runs;
    let next = 0;
    this.#firstPages = runs.map(({ pages }) => {
      const first = next;
      next += pages;
      return first;
    });
    this.pageCount = next;
  }

  /** Index of the run that holds a page. */
  runOf(page: number): number {
    const firsts = this.#firstPages;
    const last = this.#last;
    // Mostly it is the one that was asked for last.
    if (firsts[last]! <= page && page < firsts[last]! + this.runs[last]!.pages) return last;
    let low = 0;
    let high = firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (firsts[middle]! <= page) low = middle;
      else high = middle - 1;
    }
    return this.#last = low;
  }

  /** Number of a run's first page. */
  firstPageOf(run: number): number {
    return this.#firstPages[run]!;
  }

  /** The page behind a run's last. */
  endOf(run: number): number {
    return this.#firstPages[run]! + this.runs[run]!.pages;
  }
}
