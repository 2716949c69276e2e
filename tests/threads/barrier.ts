/** Two threads brought to the same moment, again and again. */

import { Random } from "../support/random.ts";

const { wait } = Atomics;
const nap = new Int32Array(new SharedArrayBuffer(4));

/** Sleeps for a moment: the thread that is waited for may need this very core. */
export function giveWay(): void {
  wait(nap, 0, 0, 0.01);
}

/** One of two threads that go on at the same moment, and spin until then. */
export class Barrier {
  readonly #words: Int32Array;
  readonly #own: number;
  readonly #random: Random;
  #meetings = 0;

  /**
   * @param buffer 128 bytes, both sides' own
   * @param side 0 or 1
   */
  constructor(buffer: SharedArrayBuffer, side: number) {
    this.#words = new Int32Array(buffer);
    this.#own = side * 16;
    this.#random = new Random(side);
  }

  /**
   * Waits for the other side, then up to some 50 ns more.
   *
   * @returns false when the other side has left
   * @throws {Error} when it does not come for 20 s
   */
  meet(): boolean {
    const words = this.#words;
    const other = this.#own ^ 16;
    const delay = this.#random.u32() & 0x3f;
    Atomics.store(words, this.#own, ++this.#meetings);
    let end = 0;
    for (let turn = 1; Atomics.load(words, other) < this.#meetings; turn++) {
      if (Atomics.load(words, other + 1) !== 0) return false;
      if ((turn & 0xfff) !== 0) continue;
      giveWay();
      if (end === 0) end = performance.now() + 20_000;
      else if (performance.now() > end) throw new Error("The other side does not come for 20 s");
    }
    for (let turn = 0; turn < delay; turn++) Atomics.load(words, this.#own);
    return true;
  }

  /** Meets no more. */
  leave(): void {
    Atomics.store(this.#words, this.#own + 1, 1);
  }
}
