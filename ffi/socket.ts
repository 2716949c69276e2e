/** Connected stream sockets, for the control plane. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { PollEvents, PollSet } from "./poll.ts";
import { DEFAULT_STALL_TIMEOUT, watchPeer } from "./peer_watch.ts";
import {
  formatSocketAddress,
  resolveSocketAddresses,
  type Sockaddr,
  type SocketAddress,
} from "./socket_address.ts";
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

/** How to connect. The timeout is for each address that a host name has. */
export interface ConnectOptions extends WaitOptions {
  /** Milliseconds without a sign of life after which the peer counts as gone; default 30000. */
  readonly stallTimeout?: number;
}

/**
 * A connected stream socket, non-blocking, with TCP_NODELAY set, and broken by the kernel when the peer is
 * gone without a word ({@linkcode watchPeer}): owns the descriptor. What a migration
 * sends and receives passes through the ends of a channel, on whatever thread; `sendAll` and `receive`
 * are for programs that speak by themselves.
 */
export class Socket implements Disposable {
  #fd: number;
  /** The other end, for messages. */
  readonly peer: string;
  /**
   * Where it was connected to, with the address that answered in place of a host name: who connects a second
   * time to the same process must not be led to another host by the name. Absent when it was accepted.
   */
  readonly address: SocketAddress | undefined;

  /**
   * Takes ownership of a connected descriptor.
   *
   * @param peer the other end, for messages
   * @param stallTimeout milliseconds without a sign of life after which the peer counts as gone
   * @param address what was connected to; the same as `peer` for a host that is no name
   */
  constructor(
    fd: number,
    peer: string,
    stallTimeout: number = DEFAULT_STALL_TIMEOUT,
    address?: SocketAddress,
  ) {
    this.#fd = fd;
    this.peer = peer;
    this.address = address;
    setOption(fd, SocketOption.NO_DELAY, 1); // refused by unix sockets, which need it not
    watchPeer(fd, stallTimeout);
  }

  /**
   * Connects to an address. Of a host name with several, each is tried in its turn.
   *
   * @throws {SocketAddressError} when the host is unknown
   * @throws {SyscallError} when the host refuses or cannot be reached: the last of several, which tells of
   * each
   * @throws {DOMException} `TimeoutError` after `options.timeout`, when that was the last
   */
  static async connect(address: SocketAddress, options: ConnectOptions = {}): Promise<Socket> {
    const peer = formatSocketAddress(address);
    const failures: { readonly sockaddr: Sockaddr; readonly error: unknown }[] = [];
    for (const sockaddr of await resolveSocketAddresses(address)) {
      try {
        return await connectTo(sockaddr, peer, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!(error instanceof SyscallError) && !isTimeout(error)) throw error;
        failures.push({ sockaddr, error });
      }
    }
    throw failures.length === 1 ? failures[0]!.error : noneAnswers(peer, failures);
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
   * Waits until the other end has closed the connection, or it broke; reads nothing.
   *
   * @returns the errno with which it broke, which nobody else finds then; 0 when it was closed
   */
  async closedByPeer(options: WaitOptions = {}): Promise<number> {
    const found = await waitReady(this.#fd, PollEvents.RDHUP, `the end of ${this.peer}`, options);
    return (found & PollEvents.ERR) === 0 ? 0 : takeConnectError(this.#fd);
  }

  /** Reports whether the other end has closed the connection by now, or it broke; reads nothing. */
  hasEnded(): boolean {
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
    endWaits(this.#fd);
    libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}

async function connectTo(
  { family, bytes, address }: Sockaddr,
  peer: string,
  options: ConnectOptions,
): Promise<Socket> {
  const fd = openSocket(family);
  try {
    if (libc().connect(fd, bytes, bytes.length) < 0) {
      const code = errno();
      // A full backlog of a unix socket says EAGAIN and cannot be polled for.
      if (code !== Errno.EINPROGRESS) throw connectError(code, peer, address);
      await waitReady(fd, PollEvents.OUT, `connect to ${peer}`, options);
      const failure = takeConnectError(fd);
      if (failure !== 0) throw connectError(failure, peer, address);
    }
    return new Socket(fd, peer, options.stallTimeout, address);
  } catch (error) {
    endWaits(fd);
    libc().close(fd);
    throw error;
  }
}

function connectError(code: number, peer: string, address: SocketAddress): SyscallError {
  const lacksScope = code === Errno.EINVAL && address.transport === "tcp" &&
    /^fe[89ab][^%]*$/i.test(address.host);
  return new SyscallError(
    "connect",
    code,
    `to ${peer}`,
    lacksScope
      ? `say which interface leads there: tcp:[${address.host}%eth0]:${address.port}`
      : "see that the destination listens there and is reachable",
  );
}

/** The error for a host none of whose addresses answers: the last one's, with what the others said. */
function noneAnswers(
  peer: string,
  failures: readonly { readonly sockaddr: Sockaddr; readonly error: unknown }[],
): Error {
  const told = failures.map(({ sockaddr: { address }, error }) => {
    const why = error instanceof SyscallError ? error.code : "no answer";
    return `${formatSocketAddress(address)}: ${why}`;
  });
  const { error } = failures.at(-1)!;
  if (!(error instanceof SyscallError)) {
    return new DOMException(`No address of ${peer} answers: ${told.join(", ")}`, "TimeoutError");
  }
  return new SyscallError(
    "connect",
    error.errno,
    `to ${peer} (${told.join(", ")})`,
    "see that the destination listens at one of them and is reachable",
    { cause: error },
  );
}
