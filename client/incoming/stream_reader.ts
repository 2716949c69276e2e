/** Reading a main channel's socket, piece by piece, on a pool's thread. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import type { IncomingPages } from "./incoming_memory.ts";
import type { IncomingStream } from "./incoming_stream.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/** Bytes of a main channel's buffer, half of L2 on the usual host: what recv brings in is still cached when it is placed. */
export const MAIN_CHANNEL_BYTES: number = 512 * 1024;

/** Slots of a task's poll that a reader takes, the first ones. */
export const READER_SLOTS = 2;
const MAIN_SLOT = 0;
const WAKE_SLOT = 1;

/**
 * Nanoseconds without input after which a buffer's memory is given back: a source that sends at all
 * sends more often, and a thousand that do not keep nothing.
 */
const REST = 1e9;

/** What a reader reads from, and for whom. */
export interface StreamReaderInit {
  /** The main channel. */
  readonly main: ConnectionInit;
  /** Ends the waits. */
  readonly wakeFd: number;
  /** Called with the bytes of each piece of input. */
  readonly count: (bytes: number) => void;
}

/** Feeds a stream from a socket. */
export class StreamReader {
  readonly #init: StreamReaderInit;
  readonly #poll: TaskPoll;
  readonly #stream: IncomingStream;
  readonly #pages: IncomingPages;
  readonly #buffer: ReceiveBuffer;
  #decoder: StreamDecoder;
  readonly #end: ReceivingEnd;
  /** When the input ended; 0 while it goes on, Infinity once the buffer's memory is given back. */
  #idleSince = 0;
  #wanted = true;
  /** What came is held: nothing more is listened for. */
  #waits = false;

  /**
   * @param init the socket
   * @param poll its task's; {@linkcode READER_SLOTS} slots of it
   * @param stream what is fed
   * @param pages where its pages go
   * @param buffer what is received into; stays the caller's
   */
  constructor(
    init: StreamReaderInit,
    poll: TaskPoll,
    stream: IncomingStream,
    pages: IncomingPages,
    buffer: ReceiveBuffer,
  ) {
    this.#init = init;
    this.#poll = poll;
    this.#stream = stream;
    this.#pages = pages;
    this.#buffer = buffer;
    this.#decoder = new StreamDecoder(stream);
    this.#end = new ReceivingEnd(init.main, FROM_SOURCE.MAIN, buffer);
    stream.readFrom(buffer.address);
    this.listen(true);
    poll.watch(WAKE_SLOT, init.wakeFd, PollEvents.IN);
  }

  /**
   * Goes on with the connection of a source that resumes; {@linkcode StreamReader.receive} is to be called
   * before the first wait. Of the old one nothing is kept but what is in place.
   *
   * @param main the new main channel
   */
  replace(main: ConnectionInit): void {
    this.#decoder = new StreamDecoder(this.#stream, this.#stream.recover());
    this.#end.replace(main);
    this.#idleSince = 0;
    this.#waits = false;
    this.listen(true);
  }

  /** Whether there is a step when something has come. */
  listen(wanted: boolean): void {
    this.#wanted = wanted;
    this.#watch();
  }

  /** Makes the eventfd that began this step, if it did, one that can begin another. */
  clearWake(): void {
    if (this.#poll.ready(WAKE_SLOT) !== 0) clearEvent(this.#init.wakeFd);
  }

  /**
   * Takes a piece of input, if there is one, and says when the next step is to come: then others have had
   * their turn.
   *
   * @throws {MigrationError} when the source goes away before the stream has ended
   * @throws {ProtocolError} when it sends what is no stream
   */
  receive(): void {
    if (this.#pages.held) return this.#resume();
    const end = this.#end;
    const count = end.receive();
    if (count > 0) {
      this.#idleSince = 0;
      this.#init.count(count);
      return this.#decode();
    }
    if (!end.ended) {
      // Whoever waits may wait long. A thread that decompresses signals when there is more to be placed.
      const settled = this.#pages.settled();
      const left = this.#stream.rest(monotonicNanoseconds());
      if (left < Infinity) this.#poll.sleep(left);
      else if (settled) this.#rest();
      return;
    }
    const regular = (end.closed || end.truncated) && this.#stream.closed(end.closed);
    if (!regular) throw end.lost();
    this.#poll.again(); // the end may be held
  }

  /** Goes on in the midst of the input, if pages need not be waited for any more. */
  #resume(): void {
    this.#waits = !this.#pages.resume();
    this.#watch();
    if (!this.#waits) this.#decode(); // what came behind
  }

  #decode(): void {
    this.#end.decode(this.#decoder);
    this.#pages.flush();
    this.#poll.again();
  }

  #watch(): void {
    const wanted = this.#wanted && !this.#waits;
    this.#poll.watch(MAIN_SLOT, wanted ? this.#end.fd : -1, PollEvents.IN);
  }

  /** Waits for input without the memory that it goes into, once nothing has come for a while. */
  #rest(): void {
    if (this.#idleSince === Infinity || !this.#end.empty) return;
    const now = monotonicNanoseconds();
    if (this.#idleSince === 0) this.#idleSince = now;
    const left = this.#idleSince + REST - now;
    if (left > 0) return this.#poll.sleep(left);
    this.#buffer.rest();
    this.#idleSince = Infinity;
  }
}
