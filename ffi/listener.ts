/** Listening stream sockets. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { DEFAULT_STALL_TIMEOUT, watchPeer } from "./peer_watch.ts";
import { PollEvents } from "./poll.ts";
import { Socket } from "./socket.ts";
import {
  AddressFamily,
  formatSocketAddress,
  resolveSocketAddresses,
  type Sockaddr,
  type SocketAddress,
} from "./socket_address.ts";
import { acceptFrom, openSocket, setOption, SocketOption } from "./socket_calls.ts";
import { endWaits, type WaitOptions, waitReady } from "./wait_ready.ts";

/** Clients that may wait to be accepted: somebody who floods the port must not shut out the others. */
const BACKLOG = 128;

/** How to listen. */
export interface ListenOptions {
  /** Milliseconds without a sign of life after which whoever connects counts as gone; default 30000. */
  readonly stallTimeout?: number;
}

/** A listening stream socket. */
export class Listener implements Disposable {
  #fd: number;
  /** Where it listens, with the port the kernel chose when 0 was asked for. */
  readonly address: SocketAddress;

  readonly #stallTimeout: number;

  private constructor(fd: number, address: SocketAddress, stallTimeout: number) {
    this.#fd = fd;
    this.address = address;
    this.#stallTimeout = stallTimeout;
    // Those that are accepted by another thread, by the descriptor alone, inherit it.
    watchPeer(fd, stallTimeout);
  }

  /**
   * Listens at an address: of a host name with several, at the first that is this host's.
   *
   * @param address where; port 0 lets the kernel choose
   * @throws {SocketAddressError} when the host is unknown
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  static async listen(address: SocketAddress, options: ListenOptions = {}): Promise<Listener> {
    const { stallTimeout = DEFAULT_STALL_TIMEOUT } = options;
    const sockaddrs = await resolveSocketAddresses(address);
    for (const [index, sockaddr] of sockaddrs.entries()) {
      try {
        return listenAt(sockaddr, address, (fd, at) => new Listener(fd, at, stallTimeout));
      } catch (error) {
        if (index === sockaddrs.length - 1 || !isElsewhere(error)) throw error;
      }
    }
    throw new Error("A name without an address was resolved");
  }

  /**
   * Takes over a listening socket that another process has, too.
   *
   * @param fd which is the listener's from here on
   * @param address where it listens
   */
  static adopt(fd: number, address: SocketAddress): Listener {
    return new Listener(fd, address, DEFAULT_STALL_TIMEOUT);
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
    if (fd >= 0) return new Socket(fd, `a client of ${name}`, this.#stallTimeout);
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

  /** Closes this process's descriptor alone: another has a copy, by which it is listened on. */
  leave(): void {
    if (this.#fd < 0) return;
    endWaits(this.#fd);
    libc().close(this.#fd);
    this.#fd = -1;
  }

  /** Stops listening and removes a unix socket's file. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    this.leave();
    if (this.address.transport === "unix") libc().unlink(cString(this.address.path));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function listenAt(
  { family, bytes }: Sockaddr,
  address: SocketAddress,
  make: (fd: number, at: SocketAddress) => Listener,
): Listener {
  const fd = openSocket(family);
  try {
    setOption(fd, SocketOption.REUSE_ADDRESS, 1);
    if (libc().bind(fd, bytes, bytes.length) < 0) throw bindError(errno(), address);
    if (libc().listen(fd, BACKLOG) < 0) {
      throw new SyscallError("listen", errno(), formatSocketAddress(address));
    }
    return make(fd, address.transport === "unix" ? address : { ...address, port: boundPort(fd) });
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** An address of another host, or of a family that this host does not have. */
function isElsewhere(error: unknown): boolean {
  return error instanceof SyscallError && ["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(error.code);
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
