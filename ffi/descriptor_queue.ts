/** Descriptors that wait in a socket: they stay open as long as any process has a copy of its ends. */

import { closeDescriptor } from "./descriptors.ts";
import { DescriptorReceiver, DescriptorSender } from "./descriptor_passing.ts";
import { Errno, SyscallError } from "./errno.ts";
import { errno, libc } from "./libc.ts";
import { AddressFamily } from "./socket_address.ts";
import { setOption, SocketOption } from "./socket_calls.ts";

// From include/linux/net.h.
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** Bytes of kernel memory that a queue may take, at some 1 KiB for each of what waits in it. */
const QUEUE_BYTES = 64 * 1024 * 1024;

/** Both ends of a queue. */
export interface QueueEnds {
  readonly writing: number;
  readonly reading: number;
}

/**
 * Makes a queue, both ends the caller's to close.
 *
 * @throws {SyscallError} for example `EMFILE`
 */
export function newQueue(): QueueEnds {
  const bytes = new Uint8Array(8);
  const type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (libc().socketpair(AddressFamily.UNIX, type, 0, bytes) < 0) {
    throw new SyscallError("socketpair", errno());
  }
  const [writing, reading] = new Int32Array(bytes.buffer);
  // Whoever is not allowed that gets as much as net.core.wmem_max says: hundreds.
  if (!setOption(writing!, SocketOption.SEND_BUFFER_FORCE, QUEUE_BYTES)) {
    setOption(writing!, SocketOption.SEND_BUFFER, QUEUE_BYTES);
  }
  return { writing: writing!, reading: reading! };
}

/** What waits in a queue. */
export interface QueueItem {
  readonly kind: number;
  readonly id: number;
}

/** A queue of descriptors, each with two numbers. One process uses it at a time, on one thread. */
export class DescriptorQueue {
  readonly #ends: QueueEnds;
  readonly #numbers = new Uint32Array(2);
  readonly #sender = new DescriptorSender(new Uint8Array(this.#numbers.buffer));
  readonly #seen = new Uint32Array(2);
  readonly #receiver = new DescriptorReceiver(new Uint8Array(this.#seen.buffer));

  /** @param ends of it, owned elsewhere */
  constructor(ends: QueueEnds) {
    this.#ends = ends;
  }

  /**
   * Puts a copy of a descriptor behind all others.
   *
   * @param fd -1: none, the numbers alone
   * @returns 0, or the errno: `EAGAIN` when there is no room, `ETOOMANYREFS` when too many are on the way
   */
  put({ kind, id }: QueueItem, fd: number): number {
    this.#numbers[0] = kind;
    this.#numbers[1] = id;
    const count = this.#sender.send(this.#ends.writing, fd < 0 ? [] : [fd]);
    return count < 0 ? -count : 0;
  }

  /**
   * Copies the oldest, which stays there.
   *
   * @returns undefined when there is none; `fd`, which is the caller's to close, is -1 for one without
   * @throws {SyscallError} when no number is left for it
   */
  first(): QueueItem & { readonly fd: number } | undefined {
    const count = this.#receiver.peek(this.#ends.reading);
    if (count <= 0) return undefined;
    const fd = this.#receiver.descriptors.shift() ?? -1;
    if (fd < 0 && this.#receiver.lost) {
      throw new SyscallError(
        "recvmsg",
        Errno.EMFILE,
        "descriptor",
        "raise the limit with ulimit -n",
      );
    }
    return { kind: this.#seen[0]!, id: this.#seen[1]!, fd };
  }

  /** Drops the oldest. */
  pop(): void {
    this.#receiver.drop(this.#ends.reading, this.#seen.byteLength);
  }

  /**
   * Moves the oldest behind all others. At no time it is not there, unless there is no room for two of it.
   *
   * @returns 0, or the errno: then it is there no longer
   */
  turn(): number {
    const item = this.first();
    if (item === undefined) return 0;
    let code = this.put(item, item.fd);
    this.pop();
    if (code !== 0) code = this.put(item, item.fd);
    if (item.fd >= 0) closeDescriptor(item.fd);
    return code;
  }
}
