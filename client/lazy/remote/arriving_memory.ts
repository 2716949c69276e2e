/** Pages of a remote image as one session sees them: here, or to be asked for. */

import { signalEvent } from "../../../ffi/eventfd.ts";
import type { MemoryLocator, MemoryPages, MemorySpan } from "../memory_pages.ts";
import { BASE_PAGE } from "../region.ts";
import { StoredMemory } from "../stored_memory.ts";
import { RemoteCache, type RemoteCacheInit } from "./remote_cache.ts";
import { RemoteState } from "./remote_state.ts";

/** A session's place at a remote image. Plain data, for `postMessage`. */
export interface ArrivingInit {
  /** Shared memory of the `RemoteState`. */
  readonly state: SharedArrayBuffer;
  readonly cache: RemoteCacheInit;
  /** Number of the place. */
  readonly slot: number;
  /** Signalled when something has come that was waited for. */
  readonly eventFd: number;
  /** The receiver's. */
  readonly receiverFd: number;
}

/** Looks whether pages have come, and has the receiver ask for those that have not. */
export class ArrivingMemory extends StoredMemory {
  /** To be polled, and cleared. */
  readonly eventFd: number;
  readonly #init: ArrivingInit;
  readonly #state: RemoteState;
  readonly #cache: RemoteCache;
  readonly #spans: readonly MemorySpan[];
  /** Whether what was looked at last has not come. */
  #away = false;

  /** @param spans of the memory: the cache's blocks */
  constructor(locator: MemoryLocator, { spans }: MemoryPages, init: ArrivingInit) {
    super(locator);
    this.eventFd = init.eventFd;
    this.#init = init;
    this.#state = new RemoteState(init.state);
    this.#cache = new RemoteCache(init.cache);
    this.#spans = spans;
  }

  /** The session is woken when something has come, however long that takes. */
  override get interval(): number {
    return this.#away ? Infinity : super.interval;
  }

  /** What has not come is never placed: it would be zeros. */
  override get patience(): number {
    return this.#away ? Infinity : super.patience;
  }

  /** Whether what has not come cannot be had. */
  get lost(): boolean {
    return this.#state.lost;
  }

  /** Whether all has come. */
  get complete(): boolean {
    return this.#state.complete;
  }

  /** How many pages have come so far in all. */
  get arrived(): number {
    return this.#state.arrived;
  }

  /** Where in the memory a page lies that came as the how-manieth, from 0. */
  offsetOfArrival(index: number): number {
    const page = this.#cache.list[index]!;
    let at = this.#spans.length - 1;
    while (this.#spans[at]!.firstPage > page) at--;
    const { offset, firstPage } = this.#spans[at]!;
    return offset + (page - firstPage) * BASE_PAGE;
  }

  /** Has the session woken when something comes. It looks once more behind this. */
  wait(): void {
    this.#state.wait(this.#init.slot);
  }

  /** Bytes from an offset on that have come, of as many as are asked about. */
  arrivedFrom(offset: number, length: number): number {
    for (let done = 0; done < length; done += BASE_PAGE) {
      if (!this.#cache.received.has(this.#pageAt(offset + done))) return done;
    }
    return length;
  }

  override has(offset: number, length: number): boolean {
    this.#away = this.#isAway(offset, length);
    return !this.#away && super.has(offset, length); // it may have been swapped out
  }

  override request(offset: number, length: number): void {
    if (!this.#away) return super.request(offset, length);
    let wakes = false;
    for (let at = offset; at < offset + length; at += BASE_PAGE) {
      if (this.#cache.want(this.#pageAt(at))) wakes = true;
    }
    if (wakes) signalEvent(this.#init.receiverFd);
  }

  #isAway(offset: number, length: number): boolean {
    if (this.arrivedFrom(offset, length) === length) return false;
    this.wait();
    return this.arrivedFrom(offset, length) < length;
  }

  #pageAt(offset: number): number {
    const spans = this.#spans;
    let at = spans.length - 1;
    while (spans[at]!.offset > offset) at--;
    const span = spans[at]!;
    return span.firstPage + (offset - span.offset) / BASE_PAGE;
  }
}
