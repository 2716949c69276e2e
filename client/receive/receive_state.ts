/** What the threads of one {@linkcode ImageReceiver} share. */

import type { IncomingConnections } from "../connecting/preempt_door.ts";

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
} as const;
/** See {@linkcode Holder}. */
export type Holder = typeof Holder[keyof typeof Holder];

const FLAGS = 128;
const STOP = 0;
const HOLDER = 1;
const SEALED = 2;
// Descriptors of the connections that the control plane has accepted.
const HANDED_OVER = 3;
const LISTENER_FD = 4;
const SILENT_COUNT = 5;
const SILENT = 6;
// Words of each: descriptor, number of bytes that it has said, these bytes (less than eight, see FirstBytes).
const SILENT_WORDS = 4;

/** Figures of an image that is being received; the worker alone writes them. */
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

const COUNTERS = 16;
const COUNTER_OFFSET = FLAGS * 4;

/** Flags and counters in shared memory. Every thread makes its own from the same buffer. */
export class ReceiveState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #counters: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(COUNTER_OFFSET + COUNTERS * 8);
    this.#flags = new Int32Array(this.buffer, 0, FLAGS);
    this.#counters = new Float64Array(this.buffer, COUNTER_OFFSET, COUNTERS);
  }

  /** Tells the worker to give up; its eventfd must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, STOP, 1);
  }

  /** True when the worker is to give up. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, STOP) === 1;
  }

  /** Who can run the guest. */
  get holder(): Holder {
    return Atomics.load(this.#flags, HOLDER) as Holder;
  }

  set holder(holder: Holder) {
    Atomics.store(this.#flags, HOLDER, holder);
  }

  /** True when the file is complete, whatever its name. */
  get sealed(): boolean {
    return Atomics.load(this.#flags, SEALED) === 1;
  }

  /** Records that the file is complete. */
  setSealed(): void {
    Atomics.store(this.#flags, SEALED, 1);
  }

  /** Gives the worker the connections made so far; its eventfd must be signalled too. */
  handOver({ listenerFd, silent }: IncomingConnections): void {
    this.#flags[LISTENER_FD] = listenerFd;
    this.#flags[SILENT_COUNT] = silent.length;
    silent.forEach(({ fd, head = new Uint8Array() }, index) => {
      const word = SILENT + index * SILENT_WORDS;
      this.#flags[word] = fd;
      this.#flags[word + 1] = head.length;
      new Uint8Array(this.buffer).set(head, (word + 2) * 4);
    });
    Atomics.store(this.#flags, HANDED_OVER, 1); // publishes the words above
  }

  /** The connections that were handed over, if they were. */
  get connections(): IncomingConnections | undefined {
    if (Atomics.load(this.#flags, HANDED_OVER) === 0) return undefined;
    const silent = Array.from({ length: this.#flags[SILENT_COUNT]! }, (_, index) => {
      const word = SILENT + index * SILENT_WORDS;
      const start = (word + 2) * 4;
      const head = new Uint8Array(this.buffer).slice(start, start + this.#flags[word + 1]!);
      return { fd: this.#flags[word]!, head };
    });
    return { listenerFd: this.#flags[LISTENER_FD]!, silent };
  }

  /** Worker: changes a figure. */
  add(counter: Counter, change: number): void {
    this.#counters[counter]! += change;
  }

  /** Worker: sets a figure. */
  set(counter: Counter, value: number): void {
    this.#counters[counter] = value;
  }

  /** Returns a figure. */
  get(counter: Counter): number {
    return this.#counters[counter]!;
  }
}
