/** What a multifd channel says, as a list that can be compared, with its pages decompressed. */

import { MappedMemory } from "../../ffi/memory.ts";
import {
  openStreamDecompressor,
  type StreamDecompressor,
} from "../../ffi/compression/stream_codec.ts";
import {
  MULTIFD_METHOD,
  type MultifdHandler,
  type MultifdPacket,
} from "../../migration/protocol/mod.ts";

/** One page of a packet; without bytes it is zero. */
export interface LoggedPage {
  readonly block: string;
  readonly offset: number;
  readonly bytes?: Uint8Array;
}

/** What lies between two waits of a channel: its pages, in order. */
export type Round = readonly LoggedPage[];

const OUT_BYTES = 1 << 20;

/** Gathers rounds of pages; keeps a stream's state as a receiver does. */
export class MultifdLog implements MultifdHandler, Disposable {
  readonly rounds: LoggedPage[][] = [[]];
  id = -1;
  uuid = new Uint8Array();
  packets = 0;
  readonly #pageSize: number;
  readonly #in = MappedMemory.anonymous(OUT_BYTES);
  readonly #out = MappedMemory.anonymous(OUT_BYTES);
  #stream: StreamDecompressor | undefined;
  #filled = 0;
  #packet: MultifdPacket | undefined;

  constructor(pageSize = 4096) {
    this.#pageSize = pageSize;
  }

  channel(id: number, uuid: Uint8Array): void {
    this.id = id;
    this.uuid = uuid.slice();
  }

  packet(packet: MultifdPacket): void {
    this.packets++;
    this.#packet = packet;
    this.#filled = 0;
  }

  payload(bytes: Uint8Array, at: number, length: number): void {
    const { method } = this.#packet!;
    if (method === MULTIFD_METHOD.NONE) {
      this.#out.bytes().set(bytes.subarray(at, at + length), this.#filled);
      this.#filled += length;
      return;
    }
    this.#stream ??= openStreamDecompressor(method === MULTIFD_METHOD.ZLIB ? "zlib" : "zstd");
    this.#in.bytes().set(bytes.subarray(at, at + length));
    const { address } = this.#out;
    const room = OUT_BYTES - this.#filled;
    const written = this.#stream.decompress(this.#in.address, length, address + this.#filled, room);
    if (written < 0) throw new Error("Damaged");
    this.#filled += written;
  }

  packetEnd(): void {
    const { normalPages, zeroPages, block, offsets, sync } = this.#packet!;
    const pageSize = this.#pageSize;
    if (this.#filled !== normalPages * pageSize) throw new Error(`Other length: ${this.#filled}`);
    const content = this.#out.bytes();
    for (let index = 0; index < normalPages + zeroPages; index++) {
      const offset = offsets[index]!;
      const bytes = content.slice(index * pageSize, (index + 1) * pageSize);
      this.rounds.at(-1)!.push(index < normalPages ? { block, offset, bytes } : { block, offset });
    }
    if (sync) this.rounds.push([]);
  }

  [Symbol.dispose](): void {
    this.#stream?.close();
    this.#in.close();
    this.#out.close();
  }
}
