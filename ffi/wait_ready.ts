/** Waiting for descriptors without standing in the way of the event loop. */

import { Epoll } from "./epoll.ts";
import { Eventfd } from "./eventfd.ts";
import { PollEvents } from "./poll.ts";

/** How long and for whom to wait. */
export interface WaitOptions {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The longest wait, in milliseconds; without it there is no limit. */
  readonly timeout?: number;
}

/** A wait for one descriptor. */
interface Wait {
  readonly events: number;
  readonly resolve: (found: number) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * All waits of this thread: one epoll, and one thread of Deno's pool that stands in it as long as anybody
 * waits. A thread for each wait would be one for each connection.
 */
class Waits {
  readonly #byDescriptor = new Map<number, Set<Wait>>();
  #epoll: Epoll | undefined;
  #wake: Eventfd | undefined;
  #running: Promise<void> = Promise.resolve();

  /** Adds a wait. */
  add(fd: number, wait: Wait): void {
    const epoll = this.#open();
    let waits = this.#byDescriptor.get(fd);
    if (waits === undefined) {
      waits = new Set([wait]);
      // In the map before the kernel knows: an event may be there at once.
      this.#byDescriptor.set(fd, waits);
      try {
        epoll.add(fd, wait.events, fd);
      } catch (error) {
        this.#byDescriptor.delete(fd);
        this.#endIfIdle();
        throw error;
      }
      return;
    }
    waits.add(wait);
    this.#update(fd, waits);
  }

  /** Takes a wait out, whether it has ended or not. */
  remove(fd: number, wait: Wait): void {
    const waits = this.#byDescriptor.get(fd);
    if (waits === undefined || !waits.delete(wait)) return;
    if (waits.size > 0) return this.#update(fd, waits);
    this.#byDescriptor.delete(fd);
    this.#epoll!.remove(fd);
    this.#endIfIdle();
  }

  /** Resolves at once while somebody waits, else when the thread of the pool has been given back. */
  get settled(): Promise<void> {
    return this.#epoll === undefined ? this.#running : Promise.resolve();
  }

  /** The descriptor is about to be closed: nobody may go on waiting for that number. */
  end(fd: number): void {
    for (const wait of this.#byDescriptor.get(fd) ?? []) {
      this.remove(fd, wait);
      wait.reject(new Error(`Closed while it was waited for: descriptor ${fd}`));
    }
  }

  #update(fd: number, waits: Set<Wait>): void {
    let events = 0;
    for (const wait of waits) events |= wait.events;
    this.#epoll!.modify(fd, events, fd);
  }

  #open(): Epoll {
    if (this.#epoll === undefined) {
      this.#epoll = new Epoll();
      this.#wake = new Eventfd();
      this.#epoll.add(this.#wake.fd, PollEvents.IN, this.#wake.fd);
      this.#running = this.#run(this.#epoll, this.#wake);
    }
    return this.#epoll;
  }

  /** Nobody waits any more: the thread of the pool is given back. */
  #endIfIdle(): void {
    if (this.#byDescriptor.size > 0) return;
    this.#wake!.signal();
    this.#epoll = undefined;
    this.#wake = undefined;
  }

  async #run(epoll: Epoll, wake: Eventfd): Promise<void> {
    try {
      while (this.#epoll === epoll) {
        const count = await epoll.waitAsync();
        if (this.#epoll !== epoll) return;
        for (let index = 0; index < count; index++) {
          this.#find(epoll.tag(index), epoll.events(index));
        }
      }
    } finally {
      epoll.close();
      wake.close();
    }
  }

  #find(fd: number, found: number): void {
    for (const wait of this.#byDescriptor.get(fd) ?? []) {
      // An error or the end is of interest to everybody.
      const its = found & (wait.events | PollEvents.ERR | PollEvents.HUP);
      if (its === 0) continue;
      this.remove(fd, wait);
      wait.resolve(its);
    }
  }
}

const waits = new Waits();

/**
 * Ends all waits for a descriptor, which reject. Whoever closes one calls it before: the kernel forgets a
 * closed descriptor without a word, and its number is given out again.
 */
export function endWaits(fd: number): void {
  waits.end(fd);
}

/**
 * Waits until the descriptor is ready.
 *
 * @param fd the descriptor
 * @param events bits of `PollEvents`
 * @param what what is waited for, for messages
 * @returns the events found
 * @throws the signal's reason
 * @throws {DOMException} `TimeoutError` after `options.timeout`
 * @throws {Error} when it is closed first, see {@linkcode endWaits}
 */
export async function waitReady(
  fd: number,
  events: number,
  what: string,
  options: WaitOptions,
): Promise<number> {
  const { signal, timeout } = options;
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const wait: Wait = { events, resolve, reject };
  const onAbort = () => reject(signal!.reason);
  waits.add(fd, wait);
  signal?.addEventListener("abort", onAbort);
  const timer = timeout === undefined ? undefined : setTimeout(
    () => reject(new DOMException(`No answer within ${timeout} ms: ${what}`, "TimeoutError")),
    timeout,
  );
  try {
    const found = await promise;
    signal?.throwIfAborted();
    return found;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    waits.remove(fd, wait);
    await waits.settled; // whoever has waited leaves nothing running
  }
}
