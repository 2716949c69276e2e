/** Parts of an image that were at hand a moment ago. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";

/** Bytes of a window. To ask for all of it takes 6 us, for a page 1 us. */
const WINDOW_BYTES = 256 * 1024;
/** Windows that are remembered: 1 GiB. */
const WINDOWS = 4096;
/** Nanoseconds for which a window counts as being at hand. What was dropped meanwhile is waited for, once. */
const KEPT = 1e9;
/** Nanoseconds before one that was not is asked for again. */
const ABSENT = 10e6;

/**
 * Remembers windows that pages are wanted from again and again. The first page of a window is asked for alone, and
 * the second has the window asked for: where pages of a large image come at random none is asked for in vain.
 */
export class PresentWindows {
  readonly #length: number;
  readonly #ask: (offset: number, length: number) => boolean;
  /** By a window's number modulo their count: which it is, and until when it is at hand, or negated, is not. */
  readonly #windows = new Float64Array(WINDOWS).fill(-1);
  readonly #until = new Float64Array(WINDOWS);

  /**
   * @param length bytes of the memory
   * @param ask whether bytes of it are at hand
   */
  constructor(length: number, ask: (offset: number, length: number) => boolean) {
    this.#length = length;
    this.#ask = ask;
  }

  /** Whether a page is in a window that is at hand; false when that is not known. */
  has(offset: number): boolean {
    const window = Math.floor(offset / WINDOW_BYTES);
    const slot = window % WINDOWS;
    if (this.#windows[slot] !== window) {
      this.#windows[slot] = window;
      this.#until[slot] = 0;
      return false;
    }
    const now = monotonicNanoseconds();
    const until = this.#until[slot]!;
    if (Math.abs(until) > now) return until > 0;
    const start = window * WINDOW_BYTES;
    const present = this.#ask(start, Math.min(WINDOW_BYTES, this.#length - start));
    this.#until[slot] = present ? now + KEPT : -(now + ABSENT);
    return present;
  }
}
