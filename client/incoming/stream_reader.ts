/** Reading a main channel's socket on a worker's thread. */

import { Errno, errnoName } from "../../ffi/errno.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { receive } from "../../ffi/socket_calls.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import type { IncomingPages } from "./incoming_memory.ts";
import type { IncomingStream } from "./incoming_stream.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/** Bytes of a main channel's buffer, half of L2 on the usual host: what recv brings in is still cached when it is placed. */
export const MAIN_CHANNEL_BYTES: number = 512 * 1024;

/** What a reader reads from, and for whom. */
export interface StreamReaderInit {
  /** The main channel's socket. */
  readonly fd: number;
  /** Ends the waits. */
  readonly wakeFd: number;
  /** Whether to give up; `wakeFd` is signalled when that changes. */
  readonly stopped: () => boolean;
  /** Called with the bytes of each piece of input. */
  readonly count: (bytes: number) => void;
}

/** Feeds a stream from a socket. */
export class StreamReader {
  readonly #init: StreamReaderInit;
  readonly #stream: IncomingStream;
  readonly #pages: IncomingPages;
  readonly #decoder: StreamDecoder;
  readonly #bytes: Uint8Array;
  readonly #capacity: number;
  readonly #address: bigint;
  readonly #poll = new PollSet(2);
  #filled = 0;

  /**
   * @param init the socket
   * @param stream what is fed
   * @param pages where its pages go
   * @param buffer what is received into; stays the caller's
   */
  constructor(
    init: StreamReaderInit,
    stream: IncomingStream,
    pages: IncomingPages,
    buffer: ReceiveBuffer,
  ) {
    this.#init = init;
    this.#stream = stream;
    this.#pages = pages;
    this.#decoder = new StreamDecoder(stream);
    this.#bytes = buffer.bytes;
    this.#capacity = buffer.capacity;
    this.#address = BigInt(buffer.address);
    stream.readFrom(buffer.address);
    this.#poll.watch(0, init.fd, PollEvents.IN);
    this.#poll.watch(1, init.wakeFd, PollEvents.IN);
  }

  /**
   * Reads until the stream has ended or it is told to stop.
   *
   * @throws {MigrationError} when the source goes away first
   * @throws {ProtocolError} when it sends what is no stream
   */
  read(): void {
    while (!this.#init.stopped() && !this.#stream.ended) {
      if (this.receive()) continue;
      this.#poll.wait(-1);
      if (this.#poll.ready(1) !== 0) clearEvent(this.#init.wakeFd);
    }
  }

  /**
   * Takes what the socket has, without waiting.
   *
   * @returns false when it has nothing
   */
  receive(): boolean {
    const { fd } = this.#init;
    const filled = this.#filled;
    const count = receive(fd, this.#address + BigInt(filled), this.#capacity - filled);
    if (count > 0) {
      this.#init.count(count);
      const end = filled + count;
      const decoded = this.#decoder.decode(this.#bytes, 0, end);
      this.#pages.flush();
      if (decoded < end) this.#bytes.copyWithin(0, decoded, end);
      this.#filled = end - decoded;
      return true;
    }
    if (count === -Errno.EINTR) return true;
    if (count === -Errno.EAGAIN) {
      this.#pages.settle(); // whoever waits may wait long
      return false;
    }
    if (count === 0 && this.#stream.closed()) return true;
    const how = count === 0 ? "it closed the connection" : errnoName(-count);
    throw new MigrationError("CONNECTION_LOST", `Source went away: main channel: ${how}`);
  }
}
