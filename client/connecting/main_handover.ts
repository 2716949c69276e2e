/** A new main channel, on its way from the task that found it to the task that reads it. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { connectionOf, connectionWords } from "../../channel/connection_words.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MAX_BLOCKS } from "../../migration/protocol/constants.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";

const layout = new SharedLayout();
const Word = layout.words("RELEASED", "GIVEN", "HEAD_LENGTH", "RESUMED");
// The words of the connection.
const Main = layout.words("FD", "SESSION_LOW", "SESSION_HIGH");
const HEAD_BYTES = 64;
const HEAD = layout.room(HEAD_BYTES);

/** Shared memory of a {@linkcode MainHandover}. */
export interface SharedHandover {
  readonly words: SharedArrayBuffer;
  readonly wanted: SharedArrayBuffer;
}

/**
 * What the reader of a main channel and the fault server tell each other when a connection has broken and
 * another takes its place, without the main thread, which may itself wait for a page. Either has its own
 * of the same shared memory, and wakes the other by its eventfd.
 */
export class MainHandover {
  /** The shared memory behind it. */
  readonly shared: SharedHandover;
  readonly #words: Int32Array;
  readonly #head: Uint8Array;
  readonly #wanted: PageBitmap;

  /** @param shared another thread's; without it, new */
  constructor(shared?: SharedHandover) {
    this.#wanted = new PageBitmap(MAX_BLOCKS, shared?.wanted);
    const words = shared?.words ?? new SharedArrayBuffer(layout.bytes);
    this.shared = { words, wanted: this.#wanted.buffer };
    this.#words = new Int32Array(words);
    this.#head = new Uint8Array(words, HEAD, HEAD_BYTES);
  }

  /** Reader: the old connection is used no more, and what came whole by it is in place. */
  release(): void {
    Atomics.store(this.#words, Word.RELEASED, 1);
  }

  /** Fault server: whether the reader has let go of the old connection. */
  get released(): boolean {
    return Atomics.load(this.#words, Word.RELEASED) === 1;
  }

  /** Fault server: gives the reader, which has released the old one, a new connection. */
  give(main: ConnectionInit): void {
    const { head = new Uint8Array() } = main;
    const words = this.#words;
    this.#wanted.clear(0, MAX_BLOCKS);
    words[Word.RELEASED] = 0;
    words[Word.RESUMED] = 0;
    [words[Main.FD], words[Main.SESSION_LOW], words[Main.SESSION_HIGH]] = connectionWords(main);
    words[Word.HEAD_LENGTH] = head.length;
    this.#head.set(head);
    Atomics.store(words, Word.GIVEN, 1); // publishes what stands above
  }

  /** Reader: takes a new connection, if one was given. */
  take(): ConnectionInit | undefined {
    const words = this.#words;
    if (Atomics.exchange(words, Word.GIVEN, 0) === 0) return undefined;
    const length = words[Word.HEAD_LENGTH]!;
    const { FD, SESSION_LOW, SESSION_HIGH } = Main;
    const main = connectionOf(words[FD]!, words[SESSION_LOW]!, words[SESSION_HIGH]!, "the source");
    return { ...main, head: this.#head.slice(0, length) };
  }

  /** Reader: the source wants a block's receive bitmap. */
  wantBitmap(block: number): void {
    this.#wanted.add(block);
  }

  /** Reader: the source has asked for all bitmaps that it needs, and wants to go on. */
  resume(): void {
    Atomics.store(this.#words, Word.RESUMED, 1);
  }

  /** Fault server: whether the source wants to go on; all bitmaps are known then that it wants before. */
  get resumed(): boolean {
    return Atomics.load(this.#words, Word.RESUMED) === 1;
  }

  /** Fault server: takes the number of a block whose bitmap is wanted, or -1. */
  takeWanted(): number {
    const block = this.#wanted.next(0);
    if (block >= 0) this.#wanted.take(block);
    return block;
  }
}
