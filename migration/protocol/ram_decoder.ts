/** The preempt channel's bytes, decoded. */

import { MAX_ELEMENT_BYTES } from "./constants.ts";
import { ElementFeed } from "./element_feed.ts";
import { ProtocolError } from "./protocol_error.ts";
import type { RamHandler } from "./ram.ts";
import { RamRecordDecoder } from "./ram_record_decoder.ts";
import { recordFormat } from "./record_format.ts";

/** What a {@linkcode RamDecoder} has to know beforehand. */
export interface RamDecoderOptions {
  /** Target page size in bytes; default 4096. */
  readonly targetPageSize?: number;
}

/**
 * Decodes the preempt channel: page records without any section around them (docs/protocol.md section
 * 3).
 *
 * A new connection needs a new decoder, for it starts with a record that names its block. The end
 * record that QEMU 7.2 sends last reaches `endOfSection`; nothing need end the channel.
 */
export class RamDecoder {
  readonly #records: RamRecordDecoder;
  readonly #feed: ElementFeed;
  #offset = 0;

  constructor(handler: RamHandler, options: RamDecoderOptions = {}) {
    this.#records = new RamRecordDecoder(handler, recordFormat(options.targetPageSize), true);
    this.#feed = new ElementFeed(this.decode.bind(this), MAX_ELEMENT_BYTES);
  }

  /** Bytes decoded so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Nothing fed is waiting for more bytes. Users of `decode` know it by what they keep. */
  get atBoundary(): boolean {
    return this.#feed.pending === 0;
  }

  /**
   * Decodes the whole records in `bytes[start..end)`.
   *
   * @returns Where the first undecoded byte lies: call again with it and more behind it.
   * @throws {ProtocolError} When the bytes are not RAM records.
   */
  decode(bytes: Uint8Array, start: number, end: number): number {
    const origin = this.#offset - start;
    let at = start;
    do {
      at = this.#records.decode(bytes, at, end, origin);
    } while (this.#records.sectionEnded);
    this.#offset = origin + at;
    return at;
  }

  /**
   * Decodes any split of the channel's bytes; keeps what is left over. Not to be mixed with `decode`.
   *
   * @throws {ProtocolError} When the bytes are not RAM records.
   */
  feed(chunk: Uint8Array): void {
    this.#feed.feed(chunk);
  }

  /**
   * The input has ended.
   *
   * @param left Bytes that `decode` did not decode; 0 for users of `feed`.
   * @throws {ProtocolError} When it ended inside a record.
   */
  finish(left = 0): void {
    const rest = left + this.#feed.pending;
    if (rest === 0) return;
    throw new ProtocolError(
      "truncated",
      this.#offset,
      "a whole RAM record",
      `the end of the input after ${rest} bytes of it`,
      "preempt channel",
    );
  }
}
