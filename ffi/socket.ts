/** Stream sockets as plain descriptors, so that a worker can poll them beside a userfaultfd. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { Eventfd } from "./eventfd.ts";
import { PollEvents, PollSet } from "./poll.ts";
import {
  AddressFamily,
  formatSocketAddress,
  resolveSocketAddress,
  type SocketAddress,
} from "./socket_address.ts";

// From include/linux/net.h, include/linux/socket.h, include/uapi/asm-generic/socket.h and
// include/uapi/linux/{in,tcp}.h.
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_RCVLOWAT = 18;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_MAXSEG = 2;
const TCP_QUICKACK = 12;
const TCP_USER_TIMEOUT = 18;
const TCP_NOTSENT_LOWAT = 25;
/** SIOCOUTQ, from include/uapi/linux/sockios.h. */
const SIOCOUTQ = 0x5411;
const MSG_PEEK = 0x02;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RDWR = 2;

const optionValue = new Uint8Array(4);
const optionWord = new Int32Array(optionValue.buffer);
const optionLength = new Uint8Array(new Uint32Array([4]).buffer);

function setOption(fd: number, level: number, name: number, value: number): boolean {
  optionWord[0] = value;
  return libc().setsockopt(fd, level, name, optionValue, 4) === 0;
}

/**
 * Makes the kernel acknowledge what was received at once. It forgets the wish, so it must be said
 * again after each read; then a peer without TCP_NODELAY (stock QEMU) is not held back by Nagle.
 * Does nothing on a unix socket.
 */
export function setQuickAck(fd: number): void {
  setOption(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

/**
 * Receives what is there, without waiting.
 *
 * @param fd a socket
 * @param address where to put the bytes; the caller owns that memory
 * @param length at most this many bytes
 * @returns bytes received, 0 at the end of the stream, or the negated errno (`-EAGAIN`: nothing there)
 */
export function receive(fd: number, address: bigint, length: number): number {
  const count = libc().recvAddress(fd, address, length, MSG_DONTWAIT);
  return count >= 0 ? count : -errno();
}

/** {@linkcode receive} into a buffer. */
export function receiveInto(fd: number, buffer: Uint8Array, length: number): number {
  const count = libc().recv(fd, buffer, length, MSG_DONTWAIT);
  return count >= 0 ? count : -errno();
}

/**
 * Sends from a buffer what the kernel takes now.
 *
 * @returns bytes taken, or the negated errno (`-EAGAIN`: the socket is full)
 */
export function sendFrom(fd: number, buffer: Uint8Array, length: number): number {
  const count = libc().send(fd, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  return count >= 0 ? count : -errno();
}

/** Returns the bytes that were sent and that the peer's kernel has not acknowledged. */
export function unacknowledged(fd: number): number {
  return libc().ioctl(fd, SIOCOUTQ, optionValue) === 0 ? optionWord[0]! : 0;
}

/** Returns the bytes of a full TCP segment of this connection; 64 KiB where there is no such thing. */
export function segmentBytes(fd: number): number {
  const known = libc().getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, optionValue, optionLength) === 0;
  return known ? optionWord[0]! : 65_536;
}

/**
 * {@linkcode receiveInto} that leaves the bytes where they are.
 *
 * @returns bytes seen, 0 at the end of the stream, or the negated errno
 */
export function peekInto(fd: number, buffer: Uint8Array, length: number): number {
  const count = libc().recv(fd, buffer, length, MSG_DONTWAIT | MSG_PEEK);
  return count >= 0 ? count : -errno();
}

/**
 * Accepts a connection that waits, without waiting for one.
 *
 * @param fd a listening socket
 * @returns the connection's descriptor, the caller's to close; or the negated errno (`-EAGAIN`: none)
 */
export function acceptFrom(fd: number): number {
  const accepted = libc().accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return accepted >= 0 ? accepted : -errno();
}

/** Lets a poll find a TCP socket readable only with so many bytes, or at the stream's end. */
export function setLowWater(fd: number, bytes: number): void {
  setOption(fd, SOL_SOCKET, SO_RCVLOWAT, bytes);
}

/** Ends both directions of a connection, or the listening, of a descriptor owned elsewhere. */
export function shutdownSocket(fd: number): void {
  libc().shutdown(fd, SHUT_RDWR);
}

/** Closes a descriptor from {@linkcode acceptFrom}. */
export function closeSocket(fd: number): void {
  libc().close(fd);
}

/** How long and for whom to wait. */
export interface WaitOptions {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The longest wait, in milliseconds; without it there is no limit. */
  readonly timeout?: number;
}

/**
 * Waits on Deno's pool until the descriptor is ready, and returns the events found; the abort signal
 * reaches the poll as an eventfd.
 */
async function waitReady(
  fd: number,
  events: number,
  what: string,
  options: WaitOptions,
): Promise<number> {
  options.signal?.throwIfAborted();
  using abort = new Eventfd();
  const onAbort = () => abort.signal();
  options.signal?.addEventListener("abort", onAbort);
  try {
    const set = new PollSet(2);
    set.watch(0, fd, events);
    set.watch(1, abort.fd, PollEvents.IN);
    const ready = await set.waitAsync(options.timeout ?? -1);
    options.signal?.throwIfAborted();
    if (ready === 0 && options.timeout !== undefined) {
      throw new DOMException(`No answer within ${options.timeout} ms: ${what}`, "TimeoutError");
    }
    return set.ready(0);
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
}

function openSocket(family: number): number {
  const fd = libc().socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SyscallError("socket", errno());
  return fd;
}

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
    setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1); // refused by unix sockets, which need it not
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
        const failure = socket.#takeError();
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
    setOption(this.#fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes);
  }

  /** Fixes the size of the kernel's send buffer and ends its growing by itself. */
  setSendBuffer(bytes: number): void {
    setOption(this.#fd, SOL_SOCKET, SO_SNDBUF, bytes);
  }

  /** Fixes the size of the kernel's receive buffer and ends its growing by itself. */
  setReceiveBuffer(bytes: number): void {
    setOption(this.#fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }

  /**
   * Ends the connection with ETIMEDOUT when sent data stays unacknowledged for so long.
   *
   * @param milliseconds TCP_USER_TIMEOUT
   */
  setUserTimeout(milliseconds: number): void {
    setOption(this.#fd, IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds);
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
      const count = libc().recv(this.#fd, buffer, length, MSG_DONTWAIT | MSG_PEEK);
      const code = count < 0 ? errno() : 0;
      if (count === length || count === 0 || (ended && count > 0)) return buffer.subarray(0, count);
      if (count < 0 && code !== Errno.EAGAIN && code !== Errno.EINTR) {
        throw new SyscallError("recv", code, `from ${this.peer}`);
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

  /** Ends both directions at once; threads that wait on the descriptor wake. It stays open. */
  shutdown(): void {
    if (this.#fd >= 0) libc().shutdown(this.#fd, SHUT_RDWR);
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

  #takeError(): number {
    libc().getsockopt(this.#fd, SOL_SOCKET, SO_ERROR, optionValue, optionLength);
    return optionWord[0]!;
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

/** A listening stream socket. */
export class Listener implements Disposable {
  #fd: number;
  /** Where it listens, with the port the kernel chose when 0 was asked for. */
  readonly address: SocketAddress;

  private constructor(fd: number, address: SocketAddress) {
    this.#fd = fd;
    this.address = address;
  }

  /**
   * Listens at an address.
   *
   * @param address where; port 0 lets the kernel choose
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  static async listen(address: SocketAddress): Promise<Listener> {
    const sockaddr = await resolveSocketAddress(address);
    const fd = openSocket(sockaddr.family);
    try {
      setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      if (libc().bind(fd, sockaddr.bytes, sockaddr.bytes.length) < 0) {
        throw bindError(errno(), address);
      }
      if (libc().listen(fd, 16) < 0) {
        throw new SyscallError("listen", errno(), formatSocketAddress(address));
      }
      if (address.transport === "unix") return new Listener(fd, address);
      return new Listener(fd, { ...address, port: boundPort(fd) });
    } catch (error) {
      libc().close(fd);
      throw error;
    }
  }

  /** Waits until a client is there to be taken; another thread may be faster. */
  async ready(options: WaitOptions = {}): Promise<void> {
    const name = formatSocketAddress(this.address);
    await waitReady(this.#fd, PollEvents.IN, `a connection at ${name}`, options);
  }

  /**
   * Takes the next client that is there, without waiting.
   *
   * @returns undefined when there is none
   * @throws {SyscallError} from accept
   */
  take(): Socket | undefined {
    const name = formatSocketAddress(this.address);
    const fd = acceptFrom(this.#fd);
    if (fd >= 0) return new Socket(fd, `a client of ${name}`);
    if (![Errno.EAGAIN, Errno.EINTR, Errno.ECONNABORTED].some((code) => code === -fd)) {
      throw new SyscallError("accept", -fd, name);
    }
    return undefined;
  }

  /**
   * Waits for the next connection.
   *
   * @throws {SyscallError} from accept
   */
  async accept(options: WaitOptions = {}): Promise<Socket> {
    while (true) {
      await this.ready(options);
      const socket = this.take();
      if (socket !== undefined) return socket;
    }
  }

  /** The descriptor, for a worker; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Stops listening and removes a unix socket's file. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
    if (this.address.transport === "unix") libc().unlink(cString(this.address.path));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function bindError(code: number, address: SocketAddress): SyscallError {
  const remedy = code !== Errno.EADDRINUSE
    ? undefined
    : address.transport === "unix"
    ? "remove that file if nobody listens there any more"
    : "another program listens there";
  return new SyscallError("bind", code, formatSocketAddress(address), remedy);
}

function boundPort(fd: number): number {
  const sockaddr = new Uint8Array(28);
  const length = new Uint8Array(new Uint32Array([sockaddr.length]).buffer);
  if (libc().getsockname(fd, sockaddr, length) < 0) throw new SyscallError("getsockname", errno());
  const family = sockaddr[0]!;
  if (family !== AddressFamily.INET && family !== AddressFamily.INET6) return 0;
  return new DataView(sockaddr.buffer).getUint16(2);
}
