/** How much is filled at a time: little behind a fault, for the next one waits so long; more while there is none. */

/**
 * Pages placed from a file at a time: 256 KiB, 90 us, to 1 MiB. With 16 at a time a process that reads all of its
 * memory at random has it twice as late: there are as many more faults.
 */
const FEWEST_PLACED = 64;
const MOST_PLACED = 256;
/**
 * What is missing can be there in 50 ms: then the fill yields to nobody. By 512 pages at a time 64 MiB are there
 * in 31 ms, by 64 to 256 in 40 to 50; and of four threads that read them at random fewer wait, though one that
 * does waits for up to 700 us: of all touches the slowest of a hundred take 180 us, not 210.
 */
const SOON = 32768;
const PLACED_SOON = 512;
/** Pages on the way from a page server, which a fault behind them may have to wait for: 128 KiB to 8 MiB. */
const FEWEST_ON_WAY = 32;
const MOST_ON_WAY = 2048;
/** Pages of one request: many small ones would cost more than they bring. */
const FEWEST_ASKED = 16;
const MOST_ASKED = 64;

/** The pace of one process. */
export class FillPace {
  #batch = FEWEST_PLACED;
  #window = FEWEST_ON_WAY;

  /**
   * Pages to place at a time.
   *
   * @param missing pages at most
   */
  batch(missing: number): number {
    return missing <= SOON ? PLACED_SOON : this.#batch;
  }

  /**
   * Pages to ask for by one request; 0: none now.
   *
   * @param most that lie behind each other
   * @param onWay that were asked for already
   */
  pagesToAsk(most: number, onWay: number): number {
    const count = Math.min(most, MOST_ASKED, this.#window - onWay);
    return count < Math.min(most, FEWEST_ASKED) ? 0 : count;
  }

  /** Somebody waits. */
  slowDown(): void {
    this.#batch = FEWEST_PLACED;
    this.#window = FEWEST_ON_WAY;
  }

  /** A batch was placed. */
  placed(): void {
    this.#batch = Math.min(MOST_PLACED, this.#batch * 2);
  }

  /** Pages came that nobody waited for. */
  came(pages: number): void {
    this.#window = Math.min(MOST_ON_WAY, this.#window + pages);
  }
}
