/** The waits of multifd's channels for each other: no page of one round overtakes a page of another. */

import { signalEvent } from "../../ffi/eventfd.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";

/** Words of each participant. */
const REACHED = 0;
const WAKE_FD = 1;
const FLAGS = 2;
/** A float64: bytes received. */
const BYTES = 4;
/** A cache line each: every one is written by a thread of its own. */
const PARTICIPANT_WORDS = 16;

const HERE = 1;
const ENDED = 2;

const layout = new SharedLayout();
const Word = layout.words("STOPPED", "LISTENING");
const PARTICIPANTS = layout.room(0) / 4;

/** Number of the main channel among the participants; the others follow, in the order they came. */
export const MAIN = 0;

/**
 * The rounds of one migration, in shared memory; every thread makes its own from the same buffer.
 *
 * A source divides what it sends into rounds: within one, no page comes twice. At the end of each it puts a
 * mark into every channel, the main one included, and a participant that has come to its n-th mark goes on
 * when all have come to theirs. So what came before the n-th mark anywhere is in place before anything is
 * taken that came behind it.
 *
 * Nobody waits inside of this: a participant asks whether it may go on, and is woken by its eventfd when that
 * may have changed. It says that it has come to a mark only when all its pages before that are in place.
 */
export class Rounds {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  /** Channels, without the main one. */
  readonly channels: number;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;

  /**
   * @param channels how many there are to be
   * @param buffer shared memory of another thread's; without it, new
   */
  constructor(channels: number, buffer?: SharedArrayBuffer) {
    const words = PARTICIPANTS + (channels + 1) * PARTICIPANT_WORDS;
    this.channels = channels;
    this.buffer = buffer ?? new SharedArrayBuffer(words * 4);
    this.#words = new Int32Array(this.buffer);
    this.#numbers = new Float64Array(this.buffer);
  }

  /**
   * A participant is there, or will be: from here on it is woken.
   *
   * @param participant {@linkcode MAIN}, or a channel's number from 1 on, in the order they came
   * @param wakeFd an eventfd that stays open as long as any participant is there
   */
  join(participant: number, wakeFd: number): void {
    const at = place(participant);
    this.#words[at + WAKE_FD] = wakeFd;
    Atomics.or(this.#words, at + FLAGS, HERE);
  }

  /** A participant has come to its next mark, and all its pages so far are in place. */
  reach(participant: number): void {
    Atomics.add(this.#words, place(participant) + REACHED, 1);
    if (this.mayGoOn(participant)) this.#wake(); // the last one opens the way for all
  }

  /** Whether a participant may go on behind the last mark that it has come to. */
  mayGoOn(participant: number): boolean {
    const reached = this.reached(participant);
    for (let other = 0; other <= this.channels; other++) {
      if (this.reached(other) < reached) return false;
    }
    return true;
  }

  /** How many marks a participant has come to. */
  reached(participant: number): number {
    return Atomics.load(this.#words, place(participant) + REACHED);
  }

  /** A channel has come to its regular end: to no further mark. */
  end(participant: number): void {
    Atomics.or(this.#words, place(participant) + FLAGS, ENDED);
    this.#wake();
  }

  /**
   * A channel that keeps a participant from going on for ever: it has ended before the mark that the other
   * waits at.
   *
   * @returns its number; 0 when there is none
   */
  missing(participant: number): number {
    const reached = this.reached(participant);
    for (let other = 1; other <= this.channels; other++) {
      const ended = (Atomics.load(this.#words, place(other) + FLAGS) & ENDED) !== 0;
      if (ended && this.reached(other) < reached) return other;
    }
    return 0;
  }

  /**
   * A channel that has come to a mark behind the last of a participant's.
   *
   * @returns its number; 0 when there is none
   */
  ahead(participant: number): number {
    const reached = this.reached(participant);
    for (let other = 1; other <= this.channels; other++) {
      if (this.reached(other) > reached) return other;
    }
    return 0;
  }

  /** A channel has received something. */
  count(participant: number, bytes: number): void {
    this.#numbers[(place(participant) + BYTES) / 2]! += bytes;
  }

  /** Bytes received on all channels but the main one. */
  get bytes(): number {
    let sum = 0;
    for (let other = 1; other <= this.channels; other++) {
      sum += this.#numbers[(place(other) + BYTES) / 2]!;
    }
    return sum;
  }

  /** Pages come on demand from here on (LISTEN), into memory that the guest uses: on no channel. */
  listen(): void {
    Atomics.store(this.#words, Word.LISTENING, 1);
  }

  /** True when no page may come on a channel any more. */
  get listening(): boolean {
    return Atomics.load(this.#words, Word.LISTENING) === 1;
  }

  /** Tells all channels to end. */
  stop(): void {
    Atomics.store(this.#words, Word.STOPPED, 1);
    this.#wake();
  }

  /** True when the channels are to end. */
  get stopped(): boolean {
    return Atomics.load(this.#words, Word.STOPPED) === 1;
  }

  #wake(): void {
    for (let other = 0; other <= this.channels; other++) {
      const at = place(other);
      if ((Atomics.load(this.#words, at + FLAGS) & HERE) !== 0) {
        signalEvent(this.#words[at + WAKE_FD]!);
      }
    }
  }
}

function place(participant: number): number {
  return PARTICIPANTS + participant * PARTICIPANT_WORDS;
}
