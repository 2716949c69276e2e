/** What the sessions of a remote image, its receiver and its control plane share before anything has come. */

import { signalEvent } from "../../../ffi/eventfd.ts";
import { SharedLayout } from "../../../migration/threads/shared_layout.ts";

/** Processes that may be served from one remote image at a time. */
export const MOST_WAITERS = 4096;

const layout = new SharedLayout();
const Word = layout.words("STOP", "LOST", "COMPLETE", "ARRIVED", "WAITERS");
/** Figures of a remote image; its receiver alone writes them. */
export const RemoteCounter = layout.numbers("RECEIVED", "REQUESTED", "BYTES");
/** See {@linkcode RemoteCounter}. */
export type RemoteCounter = typeof RemoteCounter[keyof typeof RemoteCounter];
const WAITING = layout.room(MOST_WAITERS * 4) / 4;
const EVENT = layout.room(MOST_WAITERS * 4) / 4;

/** Flags, figures and whoever waits, in shared memory. Every thread makes its own from the same buffer. */
export class RemoteState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(layout.bytes);
    this.#words = new Int32Array(this.buffer);
    this.#numbers = new Float64Array(this.buffer);
  }

  /** Tells the receiver to end, or that another may begin; its eventfd must be signalled too. */
  setStopped(stopped: boolean): void {
    Atomics.store(this.#words, Word.STOP, stopped ? 1 : 0);
  }

  /** True when the receiver is to end. */
  get stopped(): boolean {
    return Atomics.load(this.#words, Word.STOP) === 1;
  }

  /** Control plane: says whether the server has been out of reach for so long that its pages count as lost. */
  setLost(lost: boolean): void {
    Atomics.store(this.#words, Word.LOST, lost ? 1 : 0);
    const count = Atomics.load(this.#words, Word.WAITERS);
    for (let slot = 0; slot < count; slot++) signalEvent(this.#words[EVENT + slot]!);
  }

  /** Whether pages that have not come cannot be had. */
  get lost(): boolean {
    return Atomics.load(this.#words, Word.LOST) === 1;
  }

  /** Receiver: every page is here. */
  setComplete(): void {
    Atomics.store(this.#words, Word.COMPLETE, 1);
  }

  /** Whether every page is here. */
  get complete(): boolean {
    return Atomics.load(this.#words, Word.COMPLETE) === 1;
  }

  /** How many pages the list of those that came has. */
  get arrived(): number {
    return Atomics.load(this.#words, Word.ARRIVED);
  }

  /** Receiver: the list has more; publishes what was written before. */
  setArrived(count: number): void {
    Atomics.store(this.#words, Word.ARRIVED, count);
  }

  /**
   * Control plane: adds a place where somebody can wait.
   *
   * @param fd an eventfd that stays open for as long as this state is in use
   * @returns its number
   * @throws {RangeError} when there are too many
   */
  addWaiter(fd: number): number {
    const slot = this.#words[Word.WAITERS]!;
    if (slot === MOST_WAITERS) {
      throw new RangeError(`More processes than can be served from one image: ${MOST_WAITERS}`);
    }
    this.#words[EVENT + slot] = fd;
    Atomics.store(this.#words, Word.WAITERS, slot + 1); // publishes the word above
    return slot;
  }

  /** Has an eventfd signalled when more comes. Whoever waits looks once more behind this. */
  wait(slot: number): void {
    Atomics.store(this.#words, WAITING + slot, 1);
  }

  /** Receiver: wakes all who wait. */
  wake(): void {
    const words = this.#words;
    const count = Atomics.load(words, Word.WAITERS);
    for (let slot = 0; slot < count; slot++) {
      if (words[WAITING + slot] === 0) continue;
      if (Atomics.exchange(words, WAITING + slot, 0) === 1) signalEvent(words[EVENT + slot]!);
    }
  }

  /** Receiver: changes a figure. */
  add(counter: RemoteCounter, change: number): void {
    this.#numbers[counter]! += change;
  }

  /** Returns a figure. */
  get(counter: RemoteCounter): number {
    return this.#numbers[counter]!;
  }
}
