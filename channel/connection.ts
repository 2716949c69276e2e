/** What lies below a channel: the one place that gives bytes to a socket and takes bytes from it. */

import { Errno } from "../ffi/errno.ts";
import type { Gather } from "../ffi/gather.ts";
import type { TlsSessionInit } from "../ffi/tls/session.ts";
import {
  receive,
  receiveInto,
  roundTrip,
  segmentBytes,
  sendFrom,
  setQuickAck,
  shutdownSending,
  shutdownSocket,
  unacknowledged,
} from "../ffi/socket_calls.ts";

/** A connection in plain data, structured-cloned into the threads that use it. */
export interface ConnectionInit {
  /** The socket, owned elsewhere and open for as long as any thread uses it. */
  readonly fd: number;
  /** What was received already, when it was found out who is connected; absent: nothing. */
  readonly head?: Uint8Array;
  /** The TLS session on the socket, whose handshake is done; owned elsewhere like it. Absent: in clear. */
  readonly tls?: TlsSessionInit;
}

/**
 * A connection as one thread uses it; every thread makes its own from the same {@linkcode ConnectionInit}.
 * No call waits, and failures are negated errnos: who waits, and what a failure means, is known above.
 * This is one in clear; `openConnection` makes whichever it is.
 *
 * The ends of a channel know nothing else of what is below them. Whatever comes between them and the
 * socket comes here.
 */
export class Connection {
  /** What to poll for; nothing but a poll is done with it outside of this class. */
  readonly fd: number;

  /** @param fd a connected stream socket, owned elsewhere */
  constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Receives what is there into memory of the caller's.
   *
   * @returns bytes received; 0 at the end of the stream; `-EAGAIN` when nothing is there
   */
  receive(address: bigint, length: number): number {
    let count: number;
    do count = receive(this.fd, address, length); while (count === -Errno.EINTR);
    return count;
  }

  /** {@linkcode Connection.receive} into an array, from index `at` on. */
  receiveInto(bytes: Uint8Array, at: number): number {
    const room = at === 0 ? bytes : bytes.subarray(at);
    let count: number;
    do count = receiveInto(this.fd, room, room.length); while (count === -Errno.EINTR);
    return count;
  }

  /** {@linkcode Connection.receiveInto} that takes no more than there is room for, however little that is. */
  receiveFew(bytes: Uint8Array, at: number): number {
    return this.receiveInto(bytes, at);
  }

  /**
   * Sends the pieces that the socket takes now.
   *
   * @returns 0 when all are sent; after `-EAGAIN` the next call goes on where this one stopped
   */
  send(gather: Gather): number {
    return -gather.send(this.fd);
  }

  /** Sends from the start of an array; returns the bytes taken, or `-EAGAIN` when there is no room. */
  sendFrom(bytes: Uint8Array, length: number): number {
    let count: number;
    do count = sendFrom(this.fd, bytes, length); while (count === -Errno.EINTR);
    return count;
  }

  /** Acknowledges what was received at once, see {@linkcode setQuickAck}. */
  acknowledge(): void {
    setQuickAck(this.fd);
  }

  /** Ends this direction; what the other end says can still be received. */
  endSending(): void {
    shutdownSending(this.fd);
  }

  /** Ends both directions at once, for every thread that uses it. */
  shutdown(): void {
    shutdownSocket(this.fd);
  }

  /** Why a call failed, where that is known in more words than an errno. */
  get failure(): Error | undefined {
    return undefined;
  }

  /** Whether it ended in a way that anybody on the way can bring about, and the other end did not say. */
  get truncated(): boolean {
    return false;
  }

  /** Bytes that were sent and that the other end's kernel has not acknowledged. */
  get unacknowledged(): number {
    return unacknowledged(this.fd);
  }

  /** Nanoseconds to the other end and back, at least; 0 where that is not known. */
  get roundTrip(): number {
    return roundTrip(this.fd);
  }

  /** Bytes of a full segment on the way. */
  get segmentBytes(): number {
    return segmentBytes(this.fd);
  }
}
