/** What the control plane of one {@linkcode ImageReceiver} and its task share. */

import { SharedLayout } from "../../migration/threads/shared_layout.ts";
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

/** Figures of an image that is being received; the task alone writes them. */
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
const Flag = layout.words("STOP", "HOLDER", "SEALED");
// Descriptors of the connections that the control plane has accepted.
const Connection = layout.words("HANDED_OVER", "LISTENER_FD", "SILENT_COUNT");
// Words of each: descriptor, number of bytes that it has said, these bytes (at most eight, see FirstBytes).
const SILENT_WORDS = 4;
/** More than are ever kept. */
const MOST_SILENT = 30;
const SILENT = layout.room(MOST_SILENT * SILENT_WORDS * 4) / 4;
const COUNTERS = Object.keys(Counter).length;
const COUNTER_OFFSET = layout.room(COUNTERS * 8);

/** Flags and counters in shared memory. Every thread makes its own from the same buffer. */
export class ReceiveState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #counters: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(layout.bytes);
    this.#flags = new Int32Array(this.buffer);
    this.#counters = new Float64Array(this.buffer, COUNTER_OFFSET, COUNTERS);
  }

  /** Tells the task to give up; its eventfd must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, Flag.STOP, 1);
  }

  /** True when the task is to give up. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, Flag.STOP) === 1;
  }

  /** Who can run the guest. */
  get holder(): Holder {
    return Atomics.load(this.#flags, Flag.HOLDER) as Holder;
  }

  set holder(holder: Holder) {
    Atomics.store(this.#flags, Flag.HOLDER, holder);
  }

  /** True when the file is complete, whatever its name. */
  get sealed(): boolean {
    return Atomics.load(this.#flags, Flag.SEALED) === 1;
  }

  /** Records that the file is complete. */
  setSealed(): void {
    Atomics.store(this.#flags, Flag.SEALED, 1);
  }

  /** Gives the task the connections made so far; its eventfd must be signalled too. */
  handOver({ listenerFd, silent }: IncomingConnections): void {
    this.#flags[Connection.LISTENER_FD] = listenerFd;
    this.#flags[Connection.SILENT_COUNT] = silent.length;
    silent.forEach(({ fd, head = new Uint8Array() }, index) => {
      const word = SILENT + index * SILENT_WORDS;
      this.#flags[word] = fd;
      this.#flags[word + 1] = head.length;
      new Uint8Array(this.buffer).set(head, (word + 2) * 4);
    });
    Atomics.store(this.#flags, Connection.HANDED_OVER, 1); // publishes the words above
  }

  /** The connections that were handed over, if they were. */
  get connections(): IncomingConnections | undefined {
    if (Atomics.load(this.#flags, Connection.HANDED_OVER) === 0) return undefined;
    const silent = Array.from({ length: this.#flags[Connection.SILENT_COUNT]! }, (_, index) => {
      const word = SILENT + index * SILENT_WORDS;
      const start = (word + 2) * 4;
      const head = new Uint8Array(this.buffer).slice(start, start + this.#flags[word + 1]!);
      return { fd: this.#flags[word]!, head };
    });
    return { listenerFd: this.#flags[Connection.LISTENER_FD]!, silent };
  }

  /** Task: changes a figure. */
  add(counter: Counter, change: number): void {
    this.#counters[counter]! += change;
  }

  /** Task: sets a figure. */
  set(counter: Counter, value: number): void {
    this.#counters[counter] = value;
  }

  /** Returns a figure. */
  get(counter: Counter): number {
    return this.#counters[counter]!;
  }
}
