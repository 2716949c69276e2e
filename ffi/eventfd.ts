/** Eventfds: how one thread ends another's poll. */

import { errno, libc } from "./libc.ts";
import { SyscallError } from "./errno.ts";

// From include/uapi/linux/eventfd.h.
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);
const SINK = new Uint8Array(8);

/** Makes the eventfd readable: whoever polls it wakes. May be called from any thread with the number alone. */
export function signalEvent(fd: number): void {
  libc().write(fd, ONE, 8);
}

/** Makes the eventfd unreadable again. */
export function clearEvent(fd: number): void {
  libc().read(fd, SINK, 8);
}

/** An eventfd that this object owns. */
export class Eventfd implements Disposable {
  #fd: number;

  /** @throws {SyscallError} from eventfd, for example `EMFILE` */
  constructor() {
    this.#fd = libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (this.#fd < 0) {
      throw new SyscallError("eventfd", errno(), undefined, "raise the limit with ulimit -n");
    }
  }

  /** The descriptor, for a poll in any thread; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Wakes whoever polls it. */
  signal(): void {
    if (this.#fd >= 0) signalEvent(this.#fd);
  }

  /** Closes the descriptor. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
