/** Connected stream sockets, for the control plane. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { PollEvents } from "./poll.ts";
import { formatSocketAddress, resolveSocketAddress, type SocketAddress } from "./socket_address.ts";
import {
  openSocket,
  receiveInto,
  sendFrom,
  setOption,
  shutdownSocket,
  SocketOption,
  takeConnectError,
} from "./socket_calls.ts";
import { endWaits, type WaitOptions, waitReady } from "./wait_ready.ts";

export type { WaitOptions } from "./wait_ready.ts";

/**
 * A connected stream socket, non-blocking, with TCP_NODELAY set: owns the descriptor. What a migration
 * sends and receives passes through the ends of a channel, on whatever thread; `sendAll` and `receive`
 * are for programs that speak by themselves.
 */
export class Socket implements Disposable {
  #fd: number;
  /** The other end, for messages. */
  readonly peer: string;

  /**
   * Takes ownership of a connected descriptor.
   *
   * @param peer the other end, for messages
   */
  constructor(fd: number, peer: string) {
    this.#fd = fd;
    this.peer = peer;
    setOption(fd, SocketOption.NO_DELAY, 1); // refused by unix sockets, which need it not
  }

  /**
   * Connects to an address.
   *
   * @throws {SyscallError} when the host refuses or cannot be reached
   * @throws {DOMException} `TimeoutError` after `options.timeout`
   */
  static async connect(address: SocketAddress, options: WaitOptions = {}): Promise<Socket> {
    const peer = formatSocketAddress(address);
    const sockaddr = await resolveSocketAddress(address);
    const socket = new Socket(openSocket(sockaddr.family), peer);
    try {
      if (libc().connect(socket.fd, sockaddr.bytes, sockaddr.bytes.length) < 0) {
        const code = errno();
        // A full backlog of a unix socket says EAGAIN and cannot be polled for.
        if (code !== Errno.EINPROGRESS) throw connectError(code, peer);
        await waitReady(socket.fd, PollEvents.OUT, `connect to ${peer}`, options);
        const failure = takeConnectError(socket.fd);
        if (failure !== 0) throw connectError(failure, peer);
      }
      return socket;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** The descriptor, for a worker; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Keeps the bytes that the kernel holds unsent small, so that what is written next leaves soon.
   *
   * @param bytes TCP_NOTSENT_LOWAT
   */
  setUnsentLimit(bytes: number): void {
    setOption(this.#fd, SocketOption.NOT_SENT_LOW_WATER, bytes);
  }

  /** Fixes the size of the kernel's send buffer and ends its growing by itself. */
  setSendBuffer(bytes: number): void {
    setOption(this.#fd, SocketOption.SEND_BUFFER, bytes);
  }

  /** Fixes the size of the kernel's receive buffer and ends its growing by itself. */
  setReceiveBuffer(bytes: number): void {
    setOption(this.#fd, SocketOption.RECEIVE_BUFFER, bytes);
  }

  /**
   * Sends all bytes, waiting for room as long as it takes.
   *
   * @throws {SyscallError} when the peer has gone
   */
  async sendAll(bytes: Uint8Array, options: WaitOptions = {}): Promise<void> {
    let sent = 0;
    while (sent < bytes.length) {
      const count = sendFrom(this.#fd, bytes.subarray(sent), bytes.length - sent);
      if (count >= 0) sent += count;
      else if (count === -Errno.EAGAIN) {
        await waitReady(this.#fd, PollEvents.OUT, `send to ${this.peer}`, options);
      } else if (count !== -Errno.EINTR) {
        throw new SyscallError("send", -count, `to ${this.peer}`);
      }
    }
  }

  /**
   * Receives at least one byte, or 0 at the end of the stream.
   *
   * @returns bytes put at the start of `buffer`
   * @throws {SyscallError} when the connection broke
   */
  async receive(buffer: Uint8Array, options: WaitOptions = {}): Promise<number> {
    while (true) {
      const count = receiveInto(this.#fd, buffer, buffer.length);
      if (count >= 0) return count;
      if (count === -Errno.EAGAIN) {
        await waitReady(this.#fd, PollEvents.IN, `receive from ${this.peer}`, options);
      } else if (count !== -Errno.EINTR) {
        throw new SyscallError("recv", -count, `from ${this.peer}`);
      }
    }
  }

  /** Waits until the other end has closed the connection, or it broke; reads nothing. */
  async closedByPeer(options: WaitOptions = {}): Promise<void> {
    await waitReady(this.#fd, PollEvents.RDHUP, `the end of ${this.peer}`, options);
  }

  /** Ends both directions at once; threads that wait on the descriptor wake. It stays open. */
  shutdown(): void {
    if (this.#fd >= 0) shutdownSocket(this.#fd);
  }

  /** Closes the descriptor. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    endWaits(this.#fd);
    libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function connectError(code: number, peer: string): SyscallError {
  return new SyscallError(
    "connect",
    code,
    `to ${peer}`,
    "see that the destination listens there and is reachable",
  );
}
