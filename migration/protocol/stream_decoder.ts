/** The main channel's bytes, decoded. */

import { readU16, readU32 } from "./byte_order.ts";
import { checkCommandHead, COMMAND_HEAD_BYTES, decodeCommand } from "./command_codec.ts";
import { ConfigurationDecoder } from "./configuration_codec.ts";
import { hasCapability } from "./configuration.ts";
import {
  CAPABILITY,
  COMMAND,
  ELEMENT,
  MAX_ELEMENT_BYTES,
  RAM_SECTION,
  STREAM_MAGIC,
  STREAM_VERSION,
} from "./constants.ts";
import { ElementFeed } from "./element_feed.ts";
import { NameTable } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";
import { RamRecordDecoder } from "./ram_record_decoder.ts";
import { RamSectionState } from "./ram_section_state.ts";
import { recordFormat } from "./record_format.ts";
import type { StreamHandler } from "./stream.ts";

/** What a {@linkcode StreamDecoder} has to know beforehand. */
export interface StreamDecoderOptions {
  /** Target page size in bytes; default what the configuration says, or else 4096. */
  readonly targetPageSize?: number;
  /**
   * The stream of a resumed postcopy: no header, no configuration, no block list (docs/protocol.md
   * section 5).
   */
  readonly resumed?: boolean;
  /** Section id of `ram` for a resumed stream; when absent the first section's id is taken. */
  readonly ramSectionId?: number;
}

/** What the next byte belongs to; the values are what `finish` says is missing. */
const STATE = {
  HEADER: "the header: QEVM and version 3",
  FIRST_ELEMENT: "the configuration or another element",
  CONFIGURATION: "a subsection of the configuration or another element",
  ELEMENT: "an element",
  RAM: "a RAM record",
  FOOTER: "a section footer",
  PACKAGE: "the rest of the package",
  DEVICE_STATE: "device state",
  AFTER_EOF: "a description or the end of the input",
  DESCRIPTION: "the rest of the description",
  END: "the end of the input",
} as const;
type State = typeof STATE[keyof typeof STATE];

const BOUNDARIES: readonly State[] = [
  STATE.FIRST_ELEMENT,
  STATE.ELEMENT,
  STATE.DEVICE_STATE,
  STATE.AFTER_EOF,
  STATE.END,
];

/**
 * Decodes the main channel, source to destination, or a captured stream (docs/protocol.md sections 1
 * and 5; QEMU docs/devel/migration/main.rst).
 *
 * It calls its handler for each element and holds no element back; a `ProtocolError`, or an error that
 * the handler throws, leaves it unusable. Memory it takes is bounded, whatever the peer sends.
 *
 * @example
 * ```ts
 * import { IgnoreStream, StreamDecoder, StreamEncoder } from "./mod.ts";
 *
 * const encoder = new StreamEncoder();
 * encoder.header();
 * encoder.configuration({ machine: "pc-q35-7.2" });
 * class PrintMachine extends IgnoreStream {
 *   override configuration({ machine }: { machine: string }): void {
 *     console.log(machine);
 *   }
 * }
 * const decoder = new StreamDecoder(new PrintMachine());
 * decoder.feed(encoder.take());
 * decoder.finish();
 * ```
 */
export class StreamDecoder {
  readonly #handler: StreamHandler;
  readonly #feed: ElementFeed;
  readonly #pageSizeGiven: number | undefined;
  readonly #names = new NameTable();
  readonly #configuration = new ConfigurationDecoder();
  #records: RamRecordDecoder;
  #state: State;
  #offset = 0;
  readonly #ram: RamSectionState;
  /** Bytes of the package or description still to come. */
  #bytesLeft = 0;

  /** @param handler Called for each element, in order. */
  constructor(handler: StreamHandler, options: StreamDecoderOptions = {}) {
    const resumed = options.resumed ?? false;
    this.#handler = handler;
    this.#pageSizeGiven = options.targetPageSize;
    this.#ram = new RamSectionState(resumed, options.ramSectionId);
    this.#state = resumed ? STATE.ELEMENT : STATE.HEADER;
    this.#records = new RamRecordDecoder(handler, recordFormat(options.targetPageSize), false);
    this.#feed = new ElementFeed(this.decode.bind(this), MAX_ELEMENT_BYTES);
  }

  /** Bytes decoded so far. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Between two elements: not inside a section, package or description, and nothing fed is waiting for
   * more bytes. Users of `decode` know the latter by what they keep.
   */
  get atBoundary(): boolean {
    return BOUNDARIES.includes(this.#state) && this.#feed.pending === 0;
  }

  /**
   * Decodes what is whole in `bytes[start..end)`; with {@linkcode MAX_ELEMENT_BYTES} it always gets on. A
   * handler that is held stops it behind the element or record that it was given.
   *
   * @returns Where the first undecoded byte lies: call again with it and more behind it.
   * @throws {ProtocolError} When the bytes are not a migration stream.
   */
  decode(bytes: Uint8Array, start: number, end: number): number {
    const origin = this.#offset - start;
    let at = start;
    for (;;) {
      const state = this.#state;
      const next = this.#step(state, bytes, at, end, origin);
      if (next === at && state === this.#state) break;
      at = next;
      this.#offset = origin + at;
      if (this.#handler.held) break;
    }
    return at;
  }

  /**
   * Counts bytes of the stream that it is not given, between two elements: device sections, whose end
   * it cannot find. The offsets in the stream stay right.
   */
  skip(length: number): void {
    this.#offset += length;
  }

  /**
   * Decodes any split of the stream; keeps what is left over. Not to be mixed with `decode`.
   *
   * @throws {ProtocolError} When the bytes are not a migration stream.
   */
  feed(chunk: Uint8Array): void {
    this.#feed.feed(chunk);
  }

  /**
   * The input has ended.
   *
   * @param left Bytes that `decode` did not decode; 0 for users of `feed`.
   * @throws {ProtocolError} When it ended inside an element.
   */
  finish(left = 0): void {
    const rest = left + this.#feed.pending;
    if (rest === 0 && this.#state === STATE.CONFIGURATION) this.#endConfiguration(this.#offset);
    if (rest === 0 && BOUNDARIES.includes(this.#state)) return;
    throw new ProtocolError(
      "truncated",
      this.#offset,
      this.#state,
      `the end of the input after ${rest} bytes of it`,
    );
  }

  /** Decodes one thing; returns `at` and leaves the state alone when bytes are missing. */
  #step(state: State, bytes: Uint8Array, at: number, end: number, origin: number): number {
    switch (state) {
      case STATE.HEADER:
        return this.#header(bytes, at, end, origin);
      case STATE.FIRST_ELEMENT:
        if (at < end && bytes[at] === ELEMENT.CONFIGURATION) {
          const next = this.#configuration.machine(bytes, at, end, origin + at);
          if (next !== at) this.#state = STATE.CONFIGURATION;
          return next;
        }
        return this.#element(bytes, at, end, origin);
      case STATE.CONFIGURATION:
        if (at >= end) return at;
        if (bytes[at] === ELEMENT.SUBSECTION) {
          return this.#configuration.subsection(bytes, at, end, origin + at);
        }
        this.#endConfiguration(origin + at);
        return at;
      case STATE.ELEMENT:
        return this.#element(bytes, at, end, origin);
      case STATE.RAM: {
        const next = this.#records.decode(bytes, at, end, origin);
        if (this.#records.sectionEnded) this.#state = STATE.FOOTER;
        return next;
      }
      case STATE.FOOTER:
        return this.#footer(bytes, at, end, origin);
      case STATE.PACKAGE:
      case STATE.DESCRIPTION:
        return this.#pieces(state, bytes, at, end);
      case STATE.DEVICE_STATE:
        if (at < end) this.#handler.deviceState(bytes, at, end - at);
        return end;
      case STATE.AFTER_EOF:
        return this.#description(bytes, at, end);
      case STATE.END:
        return end; // QEMU does not look at it either: a volume is larger than what it holds
    }
  }

  #header(bytes: Uint8Array, at: number, end: number, origin: number): number {
    if (end - at < 8) return at;
    const magic = readU32(bytes, at);
    const version = readU32(bytes, at + 4);
    if (magic !== STREAM_MAGIC || version !== STREAM_VERSION) {
      throw new ProtocolError(
        "bad-header",
        origin + at,
        `magic ${hex(STREAM_MAGIC)} and version ${STREAM_VERSION}`,
        `${hex(magic)} and ${version}`,
      );
    }
    this.#state = STATE.FIRST_ELEMENT;
    this.#handler.header();
    return at + 8;
  }

  #endConfiguration(offset: number): void {
    const configuration = this.#configuration.configuration;
    const { targetPageBits } = configuration;
    const announced = targetPageBits === undefined ? undefined : 2 ** targetPageBits;
    const given = this.#pageSizeGiven;
    if (announced !== undefined && given !== undefined && announced !== given) {
      throw new ProtocolError(
        "bad-configuration",
        offset,
        `target pages of ${given} bytes`,
        `${announced} bytes`,
      );
    }
    const format = recordFormat(
      announced ?? given,
      hasCapability(configuration, CAPABILITY.IGNORE_SHARED),
      hasCapability(configuration, CAPABILITY.MAPPED_RAM),
    );
    this.#records = new RamRecordDecoder(this.#handler, format, false);
    this.#state = STATE.ELEMENT;
    this.#handler.configuration(configuration);
  }

  #element(bytes: Uint8Array, at: number, end: number, origin: number): number {
    if (at >= end) return at;
    const type = bytes[at]!;
    switch (type) {
      case ELEMENT.EOF:
        this.#state = STATE.AFTER_EOF;
        this.#handler.endOfStream();
        return at + 1;
      case ELEMENT.SECTION_START:
        return this.#sectionStart(bytes, at, end, origin);
      case ELEMENT.SECTION_PART:
      case ELEMENT.SECTION_END:
        return this.#section(type, bytes, at, end, origin);
      case ELEMENT.SECTION_FULL:
        this.#state = STATE.DEVICE_STATE;
        return at;
      case ELEMENT.COMMAND:
        return this.#command(bytes, at, end, origin);
    }
    throw new ProtocolError(
      "bad-element",
      origin + at,
      "the type of an element: EOF, a section or a command",
      hex(type),
    );
  }

  #sectionStart(bytes: Uint8Array, start: number, end: number, origin: number): number {
    if (end - start < 6) return start;
    const nameLength = bytes[start + 5]!;
    const at = start + 6 + nameLength;
    if (end - at < 8) return start;
    const nameOffset = origin + start + 5;
    const name = this.#names.intern(bytes, start + 6, nameLength, nameOffset, "a section");
    if (name !== RAM_SECTION.NAME) {
      this.#state = STATE.DEVICE_STATE;
      return start;
    }
    const id = readU32(bytes, start + 1);
    const version = readU32(bytes, at + 4);
    this.#ram.start(id, version, origin + start);
    this.#records.beginSection(true);
    this.#state = STATE.RAM;
    this.#handler.sectionStart(id, name, readU32(bytes, at), version);
    return at + 8;
  }

  #section(type: number, bytes: Uint8Array, at: number, end: number, origin: number): number {
    if (end - at < 5) return at;
    const id = readU32(bytes, at + 1);
    const last = type === ELEMENT.SECTION_END;
    this.#ram.goOn(id, last, origin + at);
    this.#records.beginSection(false);
    this.#state = STATE.RAM;
    if (last) this.#handler.sectionEnd(id);
    else this.#handler.sectionPart(id);
    return at + 5;
  }

  #footer(bytes: Uint8Array, at: number, end: number, origin: number): number {
    if (end - at < 5) return at;
    const id = readU32(bytes, at + 1);
    this.#ram.close(bytes[at]!, id, origin + at);
    this.#state = STATE.ELEMENT;
    this.#handler.sectionFooter(id);
    return at + 5;
  }

  #command(bytes: Uint8Array, at: number, end: number, origin: number): number {
    if (end - at < COMMAND_HEAD_BYTES) return at;
    const code = readU16(bytes, at + 1);
    const length = readU16(bytes, at + 3);
    checkCommandHead(code, length, origin + at);
    const payload = at + COMMAND_HEAD_BYTES;
    if (end - payload < length) return at;
    if (code === COMMAND.PACKAGED) {
      this.#bytesLeft = readU32(bytes, payload);
      this.#state = STATE.PACKAGE;
      this.#handler.packaged(this.#bytesLeft);
    } else {
      const command = decodeCommand(code, bytes, payload, length, origin + payload);
      this.#state = STATE.ELEMENT;
      this.#handler.command(command);
    }
    return payload + length;
  }

  #description(bytes: Uint8Array, at: number, end: number): number {
    if (at >= end) return at;
    if (bytes[at] !== ELEMENT.VM_DESCRIPTION) {
      this.#state = STATE.END;
      return at;
    }
    if (end - at < 5) return at;
    this.#bytesLeft = readU32(bytes, at + 1);
    this.#state = STATE.DESCRIPTION;
    this.#handler.vmDescription(this.#bytesLeft);
    return at + 5;
  }

  #pieces(
    state: typeof STATE.PACKAGE | typeof STATE.DESCRIPTION,
    bytes: Uint8Array,
    at: number,
    end: number,
  ): number {
    const length = Math.min(this.#bytesLeft, end - at);
    this.#bytesLeft -= length;
    if (this.#bytesLeft === 0) {
      this.#state = state === STATE.PACKAGE ? STATE.ELEMENT : STATE.END;
    }
    if (length > 0) {
      if (state === STATE.PACKAGE) this.#handler.packagedData(bytes, at, length);
      else this.#handler.vmDescriptionData(bytes, at, length);
    }
    return at + length;
  }
}
