/** Reading a main channel's socket on a worker's thread. */

import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import type { IncomingPages } from "./incoming_memory.ts";
import type { IncomingStream } from "./incoming_stream.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/** Bytes of a main channel's buffer, half of L2 on the usual host: what recv brings in is still cached when it is placed. */
export const MAIN_CHANNEL_BYTES: number = 512 * 1024;

/** What a reader reads from, and for whom. */
export interface StreamReaderInit {
  /** The main channel. */
  readonly main: ConnectionInit;
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
  readonly #end: ReceivingEnd;
  readonly #poll = new PollSet(2);

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
    this.#end = new ReceivingEnd(init.main, FROM_SOURCE.MAIN, buffer);
    stream.readFrom(buffer.address);
    this.#poll.watch(0, this.#end.fd, PollEvents.IN);
    this.#poll.watch(1, init.wakeFd, PollEvents.IN);
  }

  /** What to poll for. */
  get fd(): number {
    return this.#end.fd;
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
    const end = this.#end;
    const count = end.receive();
    if (count > 0) {
      this.#init.count(count);
      end.decode(this.#decoder);
      this.#pages.flush();
      return true;
    }
    if (!end.ended) {
      this.#pages.settle(); // whoever waits may wait long
      return false;
    }
    if (end.closed && this.#stream.closed()) return true;
    throw end.lost();
  }
}
