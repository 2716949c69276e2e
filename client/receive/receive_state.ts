/** What the control plane of one {@linkcode ImageReceiver} and its task share. */

import { CONNECTION_WORDS, connectionOf, connectionWords } from "../../channel/connection_words.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";
import { MOST_CALLERS } from "../connecting/callers.ts";
import type { EntranceRules } from "../connecting/entrance.ts";
import { MOST_LISTENERS } from "../connecting/listeners.ts";
import type { IncomingConnections } from "../connecting/preempt_door.ts";
import { SentAway, type SharedSentAway } from "../connecting/sent_away.ts";

/** Who can run the guest: only one end may. */
export const Holder = {
  /** The source, which lets it go on by itself when the migration fails. */
  SOURCE: 0,
  /** The source, which takes it for moved: its user can let it go on. */
  SOURCE_DONE: 1,
  /** The source has switched to postcopy: it holds the guest still until the image is complete. */
  SWITCHED: 2,
  /** The image, all of which is on the disk. */
  IMAGE: 3,
  /**
   * The source, which may have switched to postcopy, while its device state has not come whole: before QEMU
   * 10.2 it keeps the guest still until it is handed back.
   */
  SWITCHING: 4,
} as const;
/** See {@linkcode Holder}. */
export type Holder = typeof Holder[keyof typeof Holder];

/** Figures of an image that is being received; each of its tasks has its own, and they are added up. */
export const Counter = {
  /** Target pages of all blocks; 0 before they are known. */
  PAGES: 0,
  /** Pages that have come and were not discarded since. */
  RECEIVED: 1,
  /** Of these, pages with content; the others are zero. */
  DATA: 2,
  /** Pages that the source discarded and has not sent again. */
  MISSING: 3,
  /** Pages that came twice after the switch to postcopy; the first was kept. */
  DUPLICATES: 4,
  /** Bytes of pages written into the file. */
  WRITTEN_BYTES: 5,
  /** Bytes received on the main channel. */
  MAIN_BYTES: 6,
  /** Bytes received on the preempt channel. */
  PREEMPT_BYTES: 7,
  /** Bytes of a target page. */
  PAGE_SIZE: 8,
} as const;
/** See {@linkcode Counter}. */
export type Counter = typeof Counter[keyof typeof Counter];

const layout = new SharedLayout();
const Flag = layout.words("STOP", "HOLDER", "SEALED", "PAUSE");
// Descriptors of the connections that the control plane has accepted.
const Connection = layout.words("HANDED_OVER", "ENTRANCE_FD", "SILENT_COUNT", "MAIN_FD", "BEFORE");
// Words of each: connection, number of bytes that it has said, these bytes (at most eight, see FirstBytes).
const SILENT_HEAD = CONNECTION_WORDS + 1;
const SILENT_WORDS = SILENT_HEAD + 2;
const SILENT = layout.room(MOST_CALLERS * SILENT_WORDS * 4) / 4;
const SENT_AWAY = layout.room(SentAway.BYTES);
/** Listeners beside the first: one for each address that a recovery was told of. */
const MOST_MORE_LISTENERS = MOST_LISTENERS - 1;
const More = layout.words("LISTENERS");
const LISTENER = layout.room(MOST_MORE_LISTENERS * 4) / 4;
const COUNTERS = Object.keys(Counter).length;
/** The last group, for each task has one more. */
const COUNTER_OFFSET = layout.room(COUNTERS * 8);
const ROW_BYTES = layout.bytes - COUNTER_OFFSET;
const ROW = ROW_BYTES / 8;

/** Which task's figures, of how many. */
export interface StateTasks {
  /** Tasks that write figures; default 1. For new memory. */
  readonly tasks?: number;
  /** Which of them this one is; default 0, the one of the main channel. */
  readonly task?: number;
}

/** Flags and counters in shared memory. Every thread makes its own from the same buffer. */
export class ReceiveState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #counters: Float64Array;
  readonly #row: number;

  /**
   * @param buffer shared memory of another thread's state; without it, new
   * @param tasks whose figures are written
   */
  constructor(buffer?: SharedArrayBuffer, { tasks = 1, task = 0 }: StateTasks = {}) {
    this.buffer = buffer ?? new SharedArrayBuffer(COUNTER_OFFSET + tasks * ROW_BYTES);
    this.#flags = new Int32Array(this.buffer);
    this.#counters = new Float64Array(this.buffer, COUNTER_OFFSET);
    this.#row = task * ROW;
  }

  /** Tells the task to give up; its eventfd must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, Flag.STOP, 1);
  }

  /** True when the task is to give up. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, Flag.STOP) === 1;
  }

  /** Tells the task to end the connection; its eventfd must be signalled too. */
  pause(): void {
    Atomics.store(this.#flags, Flag.PAUSE, 1);
  }

  /** Task: returns, once, that the connection is to be ended. */
  takePause(): boolean {
    return Atomics.exchange(this.#flags, Flag.PAUSE, 0) === 1;
  }

  /** Who can run the guest. */
  get holder(): Holder {
    return Atomics.load(this.#flags, Flag.HOLDER) as Holder;
  }

  set holder(holder: Holder) {
    Atomics.store(this.#flags, Flag.HOLDER, holder);
  }

  /** True when the guest can go on at the source, by itself or by a command there. */
  get isAtSource(): boolean {
    const { holder } = this;
    return holder === Holder.SOURCE || holder === Holder.SOURCE_DONE;
  }

  /** True when the file is complete, whatever its name. */
  get sealed(): boolean {
    return Atomics.load(this.#flags, Flag.SEALED) === 1;
  }

  /** Records that the file is complete, or is so no more. */
  setSealed(sealed = true): void {
    Atomics.store(this.#flags, Flag.SEALED, sealed ? 1 : 0);
  }

  /** Gives the task the connections made so far; its eventfd must be signalled too. */
  handOver({ entrance, silent, mainFd, before }: IncomingConnections): void {
    this.#flags[Connection.ENTRANCE_FD] = entrance.fd;
    this.#flags[Connection.MAIN_FD] = mainFd;
    this.#flags[Connection.BEFORE] = before;
    this.#flags[Connection.SILENT_COUNT] = silent.length;
    silent.forEach((connection, index) => {
      const { head = new Uint8Array() } = connection;
      const word = SILENT + index * SILENT_WORDS;
      this.#flags.set(connectionWords(connection), word);
      this.#flags[word + CONNECTION_WORDS] = head.length;
      new Uint8Array(this.buffer).set(head, (word + SILENT_HEAD) * 4);
    });
    Atomics.store(this.#flags, Connection.HANDED_OVER, 1); // publishes the words above
  }

  /** Where connections are counted that said nothing and were sent away. */
  get sentAway(): SharedSentAway {
    return { buffer: this.buffer, offset: SENT_AWAY };
  }

  /**
   * The connections that were handed over, if they were.
   *
   * @param rules what is known of their entrance beside its descriptor
   */
  connections(rules: EntranceRules): IncomingConnections | undefined {
    if (Atomics.load(this.#flags, Connection.HANDED_OVER) === 0) return undefined;
    const silent = Array.from({ length: this.#flags[Connection.SILENT_COUNT]! }, (_, index) => {
      const word = SILENT + index * SILENT_WORDS;
      const start = (word + SILENT_HEAD) * 4;
      const length = this.#flags[word + CONNECTION_WORDS]!;
      const head = new Uint8Array(this.buffer).slice(start, start + length);
      const [fd, low, high] = this.#flags.subarray(word, word + CONNECTION_WORDS);
      return { ...connectionOf(fd!, low!, high!, "the source"), head };
    });
    return {
      entrance: { ...rules, fd: this.#flags[Connection.ENTRANCE_FD]! },
      silent,
      mainFd: this.#flags[Connection.MAIN_FD]!,
      before: this.#flags[Connection.BEFORE]!,
      sentAway: this.sentAway,
    };
  }

  /**
   * Has the task listen at another address too; its eventfd must be signalled.
   *
   * @throws {RangeError} when there are too many
   */
  addListener(fd: number): void {
    const count = this.listeners;
    if (count === MOST_MORE_LISTENERS) {
      throw new RangeError(`Cannot listen at more than ${MOST_LISTENERS} addresses`);
    }
    this.#flags[LISTENER + count] = fd;
    Atomics.store(this.#flags, More.LISTENERS, count + 1); // publishes the word above
  }

  /** How many listeners there are beside the first. */
  get listeners(): number {
    return Atomics.load(this.#flags, More.LISTENERS);
  }

  /** The descriptor of one of them. */
  listener(index: number): number {
    return this.#flags[LISTENER + index]!;
  }

  /** Task: changes a figure. */
  add(counter: Counter, change: number): void {
    this.#counters[this.#row + counter]! += change;
  }

  /** Task: sets a figure. */
  set(counter: Counter, value: number): void {
    this.#counters[this.#row + counter] = value;
  }

  /** Returns a figure, of all tasks together. */
  get(counter: Counter): number {
    let sum = 0;
    for (let at: number = counter; at < this.#counters.length; at += ROW) {
      sum += this.#counters[at]!;
    }
    return sum;
  }
}
