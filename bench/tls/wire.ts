/** A connection of one thread, in clear or through libssl alone, that waits in poll. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { receive, sendFrom, setQuickAck } from "../../ffi/socket_calls.ts";
import { callResult } from "../../ffi/tls/call_result.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import { TlsHandshake } from "../../ffi/tls/handshake.ts";
import { openSsl } from "../../ffi/tls/libssl.ts";
import { TlsSession } from "../../ffi/tls/session.ts";

/** Commands of SSL_CTX_ctrl, and the mode, from openssl/ssl.h. */
const CTRL_CLEAR_MODE = 78;
const MODE_ENABLE_PARTIAL_WRITE = 1n;

/** What a call says that is to be made again. */
interface Waiting {
  /** Bits of PollEvents. */
  readonly wants: number;
}

/** A connection on which all is sent, or all received. */
export abstract class Wire implements Disposable {
  /** The socket. */
  protected readonly fd: number;
  readonly #poll = new PollSet(1);

  /** @param fd a connected, non-blocking socket, owned elsewhere */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** How it is encrypted, for messages; undefined in clear. */
  abstract readonly cipher: string | undefined;
  protected abstract read(address: bigint, length: number): number | Waiting;
  protected abstract write(address: bigint, length: number): number | Waiting;
  abstract [Symbol.dispose](): void;

  /** Waits until the socket is ready for something. */
  protected wait(events: number): void {
    this.#poll.watch(0, this.fd, events);
    while (this.#poll.wait(-1) === 0);
  }

  /**
   * Receives so many bytes.
   *
   * @throws {Error} when the connection ends before
   */
  receiveAll(address: number, length: number): void {
    for (let have = 0; have < length;) {
      const result = this.read(BigInt(address + have), length - have);
      if (typeof result !== "number") this.wait(result.wants);
      else have += result;
    }
  }

  /** {@linkcode Wire.receiveAll} for an answer, which the other end waits to see acknowledged. */
  receiveAnswer(address: number, length: number): void {
    this.receiveAll(address, length);
    setQuickAck(this.fd);
  }

  /** Sends so many bytes. */
  sendAll(address: number, length: number): void {
    for (let sent = 0; sent < length;) {
      const result = this.write(BigInt(address + sent), length - sent);
      if (typeof result !== "number") this.wait(result.wants);
      else sent += result;
    }
  }
}

/** The socket itself. */
export class ClearWire extends Wire {
  override readonly cipher = undefined;

  protected override read(address: bigint, length: number): number | Waiting {
    const count = receive(this.fd, address, length);
    return this.#result("recv", count, PollEvents.IN);
  }

  protected override write(address: bigint, length: number): number | Waiting {
    const count = sendFrom(this.fd, viewMemory(Number(address), length), length);
    return this.#result("send", count, PollEvents.OUT);
  }

  #result(call: string, count: number, wants: number): number | Waiting {
    if (count > 0) return count;
    if (count === -Errno.EAGAIN) return { wants };
    if (count === 0) throw new Error("Connection ended during the measurement");
    throw new SyscallError(call, -count);
  }

  override [Symbol.dispose](): void {}
}

/** The library's calls, with nothing around them: no lock, and writes as long as they are asked for. */
export class LibraryWire extends Wire {
  override readonly cipher: string;
  readonly #library = openSsl();
  readonly #session: TlsSession;
  readonly #address: bigint;

  /**
   * Shakes hands, on this thread.
   *
   * @param context of this end; stays the caller's
   * @param hostname whom a client means to reach
   * @throws {TlsError} when the other end is not who it should be
   */
  constructor(fd: number, context: TlsContext, hostname: string) {
    super(fd);
    // 64 KiB are then one call, and not one for each of their records.
    this.#library.SSL_CTX_ctrl(context.address, CTRL_CLEAR_MODE, MODE_ENABLE_PARTIAL_WRITE, 0n);
    this.#session = new TlsSession(context.init, fd, "the other end", hostname);
    this.#address = BigInt(this.#session.init.address);
    using handshake = new TlsHandshake(this.#session.handshake);
    while (!handshake.step()) this.wait(handshake.wants);
    this.cipher = handshake.outcome.cipher;
  }

  protected override read(address: bigint, length: number): number | Waiting {
    this.#library.ERR_clear_error();
    return this.#result(this.#library.SSL_read(this.#address, address, length));
  }

  protected override write(address: bigint, length: number): number | Waiting {
    this.#library.ERR_clear_error();
    return this.#result(this.#library.SSL_write(this.#address, address, length));
  }

  #result(count: number): number | Waiting {
    if (count > 0) return count;
    const { code, wants, error } = callResult(this.#address, count);
    if (wants !== undefined) return { wants };
    throw new Error(`TLS ended during the measurement: ${error?.text ?? code}`);
  }

  override [Symbol.dispose](): void {
    this.#session.close();
  }
}
