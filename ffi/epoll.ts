/** epoll(7): one wait for any number of descriptors, which costs nothing for those that are at rest. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { requirePlatform } from "./platform.ts";

// From include/uapi/linux/eventpoll.h.
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** Events that one wait reports; the others come with the next. */
const CAPACITY = 64;
const ONE_EVENT = 16;
/** __NR_epoll_pwait2, the same on every architecture. */
const PWAIT2 = 441n;

/**
 * Bytes of struct epoll_event { u32 events; u64 data; }, which is packed on x86-64 alone, and where its
 * data begins.
 */
function eventShape(): { readonly bytes: number; readonly data: number } {
  return requirePlatform() === "x86_64" ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
}

/**
 * A set of descriptors to wait on. Each has a tag of the caller's; a descriptor is in it at most once. The
 * event bits are those of {@linkcode PollEvents}. Waiting and looking allocate nothing.
 */
export class Epoll implements Disposable {
  #fd: number;
  readonly #eventBytes: number;
  readonly #dataOffset: number;
  readonly #events: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  readonly #change = new Uint8Array(ONE_EVENT);
  readonly #changeView = new DataView(this.#change.buffer);
  // struct timespec { i64 seconds; i64 nanoseconds; }, of which the low halves are used.
  readonly #timespec = new Uint8Array(16);
  readonly #time = new Uint32Array(this.#timespec.buffer);

  /** @throws {SyscallError} from epoll_create1, for example `EMFILE` */
  constructor() {
    const { bytes, data } = eventShape();
    this.#eventBytes = bytes;
    this.#dataOffset = data;
    this.#events = new Uint8Array(CAPACITY * bytes);
    this.#view = new DataView(this.#events.buffer);
    this.#fd = libc().epoll_create1(EPOLL_CLOEXEC);
    if (this.#fd < 0) {
      throw new SyscallError("epoll_create1", errno(), undefined, "raise the limit with ulimit -n");
    }
  }

  /** Adds a descriptor. */
  add(fd: number, events: number, tag: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events, tag);
  }

  /** Changes what a descriptor is waited for. */
  modify(fd: number, events: number, tag: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events, tag);
  }

  /** Takes a descriptor out; one that was closed meanwhile is out already. */
  remove(fd: number): void {
    libc().epoll_ctl(this.#fd, EPOLL_CTL_DEL, fd, this.#change);
  }

  /**
   * Blocks this thread until a descriptor is ready.
   *
   * @param nanoseconds the longest wait; 0 only looks, Infinity has no limit. The kernel adds some 50 us
   * of slack
   * @returns how many events there are to look at; 0 after the time, or when a signal came between
   * @throws {SyscallError} from epoll_pwait2 (Linux 5.11)
   */
  wait(nanoseconds: number): number {
    let count: number;
    if (nanoseconds === 0 || nanoseconds === Infinity) {
      count = libc().epoll_wait(this.#fd, this.#events, CAPACITY, nanoseconds === 0 ? 0 : -1);
    } else {
      this.#time[0] = Math.floor(nanoseconds / 1e9);
      this.#time[2] = nanoseconds % 1e9;
      count = Number(
        libc().epoll_pwait2(PWAIT2, this.#fd, this.#events, CAPACITY, this.#timespec, null, 0n),
      );
    }
    if (count >= 0) return count;
    const code = errno();
    if (code === Errno.EINTR) return 0;
    throw new SyscallError("epoll_wait", code);
  }

  /** Waits without limit on a thread of Deno's pool, so that this thread's event loop goes on. */
  async waitAsync(): Promise<number> {
    const count = await libc().epollWaitAsync(this.#fd, this.#events, CAPACITY, -1);
    return Math.max(0, count); // EINTR; another errno cannot be read here
  }

  /** Returns the tag of an event that the last wait found. */
  tag(index: number): number {
    return this.#view.getUint32(index * this.#eventBytes + this.#dataOffset, true);
  }

  /** Returns what was found. */
  events(index: number): number {
    return this.#view.getUint32(index * this.#eventBytes, true);
  }

  /** Closes it. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #control(operation: number, fd: number, events: number, tag: number): void {
    this.#changeView.setUint32(0, events, true);
    this.#changeView.setUint32(this.#dataOffset, tag, true);
    this.#changeView.setUint32(this.#dataOffset + 4, 0, true);
    if (libc().epoll_ctl(this.#fd, operation, fd, this.#change) < 0) {
      throw new SyscallError("epoll_ctl", errno(), `of descriptor ${fd}`);
    }
  }
}
