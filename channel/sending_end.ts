/** A channel's sending end. */

import { Errno, SyscallError } from "../ffi/errno.ts";
import type { Gather } from "../ffi/gather.ts";
import { PollEvents, PollSet } from "../ffi/poll.ts";
import { type WaitOptions, waitReady } from "../ffi/wait_ready.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { Connection, ConnectionInit } from "./connection.ts";
import { openConnection } from "./open_connection.ts";
import { type ChannelRole, connectionBroken } from "./role.ts";

/**
 * Sends what it is given: gathered pages or an array. Only {@linkcode SendingEnd.sendAll} waits, off the
 * calling thread; a task sends what may not fit at once through a `SteppedSender`.
 */
export class SendingEnd {
  /** For messages. */
  readonly role: ChannelRole;
  #connection: Connection;
  #total = 0;

  /**
   * @param init the connection
   * @param role for messages
   */
  constructor(init: ConnectionInit, role: ChannelRole) {
    this.role = role;
    this.#connection = openConnection(init);
  }

  /** Goes on with another connection. */
  replace(init: ConnectionInit): void {
    this.#connection = openConnection(init);
  }

  /** What to poll for room. */
  get fd(): number {
    return this.#connection.fd;
  }

  /** Bytes of arrays given to whatever connection so far; who gathers counts what it gathers. */
  get total(): number {
    return this.#total;
  }

  /** Bytes that were sent and that the other end's kernel has not acknowledged. */
  get unacknowledged(): number {
    return this.#connection.unacknowledged;
  }

  /** Nanoseconds to the other end and back, at least; 0 where that is not known. */
  get roundTrip(): number {
    return this.#connection.roundTrip;
  }

  /** Bytes of a full segment on the way. */
  get segmentBytes(): number {
    return this.#connection.segmentBytes;
  }

  /** True when the other end has closed the connection, or it broke, as far as is known here by now. */
  get peerLeft(): boolean {
    const set = new PollSet(1);
    set.watch(0, this.fd, PollEvents.RDHUP);
    return set.wait(0) > 0;
  }

  /**
   * Sends the pieces that there is room for.
   *
   * @returns true when all are sent; else the next call goes on where this one stopped
   * @throws {MigrationError} when the other end is gone
   * @throws {SyscallError} for which the other end is not to blame: `EFAULT` when a piece cannot be read, and
   * `EPERM` when this process may not copy it to encrypt it
   */
  trySend(gather: Gather): boolean {
    const code = -this.#connection.send(gather);
    if (code === 0) return true;
    if (code === Errno.EAGAIN) return false;
    if (code === Errno.EFAULT) throw new SyscallError("sendmsg", code, this.role.name);
    throw this.#lost(code);
  }

  /**
   * Sends from the start of an array what there is room for.
   *
   * @returns bytes taken; 0 when there is no room
   * @throws {MigrationError} when the other end is gone
   */
  offer(bytes: Uint8Array, length: number): number {
    const count = this.#connection.sendFrom(bytes, length);
    if (count >= 0) {
      this.#total += count;
      return count;
    }
    if (count === -Errno.EAGAIN) return 0;
    throw this.#lost(-count);
  }

  /**
   * Sends a short message, for which there is room with any peer that reads.
   *
   * @throws {MigrationError} when the other end is gone, or does not read
   */
  sendMessage(message: Uint8Array): void {
    if (this.offer(message, message.length) < message.length) throw doesNotRead(this.role);
  }

  /**
   * Sends all of an array, for the control plane: waits for room on a thread of Deno's pool.
   *
   * @throws {MigrationError} when the other end is gone
   * @throws {DOMException} `TimeoutError` when it takes nothing for so long
   */
  async sendAll(bytes: Uint8Array, wait: WaitOptions = {}): Promise<void> {
    let sent = 0;
    while (sent < bytes.length) {
      const count = this.offer(bytes.subarray(sent), bytes.length - sent);
      sent += count;
      if (count > 0) continue;
      await waitReady(this.fd, PollEvents.OUT, `room on the ${this.role.name}`, wait);
    }
  }

  /** Ends this direction; what the other end says can still be received. */
  end(): void {
    this.#connection.endSending();
  }

  /** Ends the connection in both directions at once: the other end notices, and whoever uses it here. */
  hangUp(): void {
    this.#connection.shutdown();
  }

  #lost(code: number): MigrationError {
    return connectionBroken(this.role, code, this.#connection.failure);
  }
}

/** The error for a peer that leaves a channel unread. */
export function doesNotRead({ peer, name }: ChannelRole): MigrationError {
  return new MigrationError("CONNECTION_LOST", `${peer} does not read the ${name}`);
}
