/** A multifd channel's words and packets as bytes. */

import { ByteWriter } from "./byte_writer.ts";
import { encodeName } from "./names.ts";
import { MULTIFD_INIT_BYTES, MULTIFD_METHOD, type MultifdMethod, multifdPages } from "./multifd.ts";
import {
  multifdHeadBytes,
  writeMultifdHead,
  writeMultifdInit,
  writeMultifdOffset,
} from "./multifd_head.ts";
import { recordFormat } from "./record_format.ts";

/** What a packet is to say. */
export interface MultifdPacketFields {
  /** Unique among the packets of all channels. */
  readonly number: number;
  /** Whether the channel waits behind it; default false. */
  readonly sync?: boolean;
  /** How the content is compressed; default not at all. */
  readonly method?: MultifdMethod;
  /** Of what block the pages are; default none, for a packet without any. */
  readonly block?: string;
  /** Offsets of pages whose content follows, bytes from the start of the block. */
  readonly normal?: readonly number[];
  /** Offsets of zero pages. QEMU before 9.0 passes over them. */
  readonly zero?: readonly number[];
  /** Bytes that follow; default 0. */
  readonly payloadBytes?: number;
}

/** Encodes what a channel says: the counterpart of `MultifdDecoder`. Bytes gather until `take`. */
export class MultifdEncoder {
  readonly #writer = new ByteWriter();
  readonly #pageSize: number;
  readonly #pages: number;

  /** @param targetPageSize bytes; default 4096 */
  constructor(targetPageSize?: number) {
    this.#pageSize = recordFormat(targetPageSize).targetPageSize;
    this.#pages = multifdPages(this.#pageSize);
  }

  /** A copy of what was encoded since the last call. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#writer.take();
  }

  /**
   * The channel's first words.
   *
   * @param id its number, from 0
   * @param uuid the machine's, 16 bytes; default all zero, as for a machine without
   */
  channel(id: number, uuid: Uint8Array = new Uint8Array(16)): void {
    const bytes = new Uint8Array(MULTIFD_INIT_BYTES);
    writeMultifdInit(bytes, id, uuid);
    this.#writer.bytes(bytes, 0, bytes.length);
  }

  /**
   * A packet's header; its content is {@linkcode MultifdEncoder.payload}.
   *
   * @throws {RangeError} for more pages than a packet has room for
   */
  packet(fields: MultifdPacketFields): void {
    const { number, sync = false, method = MULTIFD_METHOD.NONE, block, payloadBytes = 0 } = fields;
    const { normal = [], zero = [] } = fields;
    const offsets = [...normal, ...zero];
    if (offsets.length > this.#pages) {
      throw new RangeError(`Cannot encode more than ${this.#pages} pages: ${offsets.length}`);
    }
    const bytes = new Uint8Array(multifdHeadBytes(this.#pageSize));
    writeMultifdHead(bytes, this.#pages, {
      number,
      sync,
      method,
      block: block === undefined ? undefined : encodeName(block),
      normalPages: normal.length,
      zeroPages: zero.length,
      payloadBytes,
    });
    offsets.forEach((offset, index) => writeMultifdOffset(bytes, index, offset));
    this.#writer.bytes(bytes, 0, bytes.length);
  }

  /** Content of the packet's pages. */
  payload(bytes: Uint8Array, at = 0, length: number = bytes.length - at): void {
    this.#writer.bytes(bytes, at, length);
  }
}
