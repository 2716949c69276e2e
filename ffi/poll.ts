/** poll(2) over a fixed set of descriptors, without an allocation per wait. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";

/** Event bits, from include/uapi/asm-generic/poll.h. */
export const PollEvents = { IN: 1, OUT: 4, ERR: 8, HUP: 16, NVAL: 32, RDHUP: 0x2000 } as const;

/**
 * A reusable set of descriptors to wait on. A slot whose descriptor is negative is passed over.
 *
 * @example
 * ```ts
 * import { Eventfd } from "./eventfd.ts";
 * import { PollEvents, PollSet } from "./poll.ts";
 *
 * using event = new Eventfd();
 * const set = new PollSet(1);
 * set.watch(0, event.fd, PollEvents.IN);
 * event.signal();
 * set.wait(-1);
 * if (set.ready(0) === 0) throw new Error("not ready");
 * ```
 */
export class PollSet {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #fds: Int32Array;
  readonly #events: Int16Array;
  readonly #count: bigint;
  // struct timespec { i64 seconds; i64 nanoseconds; }, of which the low halves are used.
  readonly #timespec = new Uint8Array(16);
  readonly #time = new Uint32Array(this.#timespec.buffer);

  /** @param size how many slots the set has */
  constructor(size: number) {
    // struct pollfd { int fd; short events; short revents; }
    this.#bytes = new Uint8Array(size * 8);
    this.#fds = new Int32Array(this.#bytes.buffer);
    this.#events = new Int16Array(this.#bytes.buffer);
    this.#count = BigInt(size);
    for (let slot = 0; slot < size; slot++) this.#fds[slot * 2] = -1;
  }

  /** Puts a descriptor (or -1 for none) and the events to wait for into a slot. */
  watch(slot: number, fd: number, events: number): void {
    this.#fds[slot * 2] = fd;
    this.#events[slot * 4 + 2] = events;
    this.#events[slot * 4 + 3] = 0;
  }

  /**
   * Blocks this thread until a descriptor is ready.
   *
   * @param milliseconds the longest wait; 0 only looks, -1 has no limit
   * @returns how many descriptors are ready; 0 after the time, or when a signal came between
   * @throws {SyscallError} from poll
   */
  wait(milliseconds: number): number {
    const ready = libc().poll(this.#bytes, this.#count, milliseconds);
    if (ready >= 0) return ready;
    return this.#failed(errno());
  }

  /**
   * {@linkcode PollSet.wait} for waits of less than milliseconds; the kernel adds some 50 us of slack.
   *
   * @param nanoseconds the longest wait
   */
  waitNanoseconds(nanoseconds: number): number {
    this.#time[0] = Math.floor(nanoseconds / 1e9);
    this.#time[2] = nanoseconds % 1e9;
    const ready = libc().ppoll(this.#bytes, this.#count, this.#timespec, null);
    if (ready >= 0) return ready;
    return this.#failed(errno());
  }

  /** Like {@linkcode PollSet.wait} on a thread of Deno's pool, so that this thread's event loop goes on. */
  async waitAsync(milliseconds: number): Promise<number> {
    const ready = await libc().pollAsync(this.#bytes, this.#count, milliseconds);
    if (ready < 0) throw new Error("poll failed on a pool thread"); // its errno cannot be read here
    return ready;
  }

  /** Returns the events found in a slot by the last wait; 0 for none. */
  ready(slot: number): number {
    return this.#events[slot * 4 + 3]!;
  }

  #failed(code: number): number {
    if (code === Errno.EINTR) {
      // What the slots say is from the wait before.
      for (let slot = 0; slot * 8 < this.#bytes.length; slot++) this.#events[slot * 4 + 3] = 0;
      return 0;
    }
    throw new SyscallError("poll", code);
  }
}
