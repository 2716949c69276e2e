/** Connected stream sockets, for the control plane. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { PollEvents, PollSet } from "./poll.ts";
import { formatSocketAddress, resolveSocketAddress, type SocketAddress } from "./socket_address.ts";
import {
  openSocket,
  peekInto,
  receiveInto,
  sendFrom,
  setOption,
  shutdownSocket,
  SocketOption,
  takeConnectError,
} from "./socket_calls.ts";
import { type WaitOptions, waitReady } from "./wait_ready.ts";

export type { WaitOptions } from "./wait_ready.ts";

/**
 * A connected stream socket, non-blocking, with TCP_NODELAY set. Its methods serve the control
 * plane; page data moves in workers that take {@linkcode Socket.fd}.
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

  /**
   * Waits for the first bytes without taking them.
   *
   * @param length bytes wanted, few
   * @returns the bytes, fewer when the stream ended before
   * @throws {SyscallError} when the connection broke
   */
  async peek(length: number, options: WaitOptions = {}): Promise<Uint8Array> {
    const buffer = new Uint8Array(length);
    let seen = 0;
    let ended = false;
    while (true) {
      const count = peekInto(this.#fd, buffer, length);
      if (count === length || count === 0 || (ended && count > 0)) return buffer.subarray(0, count);
      if (count < 0 && count !== -Errno.EAGAIN && count !== -Errno.EINTR) {
        throw new SyscallError("recv", -count, `from ${this.peer}`);
      }
      // The poll reports the bytes that are there again and again, so let the rest arrive first.
      if (count > 0 && count === seen) await new Promise((resolve) => setTimeout(resolve, 1));
      seen = Math.max(count, 0);
      const events = PollEvents.IN | PollEvents.RDHUP;
      const found = await waitReady(this.#fd, events, `receive from ${this.peer}`, options);
      ended = (found & (PollEvents.RDHUP | PollEvents.HUP)) !== 0;
    }
  }

  /** Waits until the other end has closed the connection, or it broke; reads nothing. */
  async closedByPeer(options: WaitOptions = {}): Promise<void> {
    await waitReady(this.#fd, PollEvents.RDHUP, `the end of ${this.peer}`, options);
  }

  /** True when the other end has closed the connection, or it broke, as far as is known here by now. */
  get isClosedByPeer(): boolean {
    const set = new PollSet(1);
    set.watch(0, this.#fd, PollEvents.RDHUP);
    return set.wait(0) > 0;
  }

  /** Ends both directions at once; threads that wait on the descriptor wake. It stays open. */
  shutdown(): void {
    if (this.#fd >= 0) shutdownSocket(this.#fd);
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

function connectError(code: number, peer: string): SyscallError {
  return new SyscallError(
    "connect",
    code,
    `to ${peer}`,
    "see that the destination listens there and is reachable",
  );
}
