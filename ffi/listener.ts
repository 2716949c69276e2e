/** Listening stream sockets. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { PollEvents } from "./poll.ts";
import { Socket } from "./socket.ts";
import {
  AddressFamily,
  formatSocketAddress,
  resolveSocketAddress,
  type SocketAddress,
} from "./socket_address.ts";
import { acceptFrom, openSocket, setOption, SocketOption } from "./socket_calls.ts";
import { endWaits, type WaitOptions, waitReady } from "./wait_ready.ts";

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
      setOption(fd, SocketOption.REUSE_ADDRESS, 1);
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
    endWaits(this.#fd);
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
