/** One channel of multifd, on a pool's thread: a piece of input a step, its pages into memory. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { CompressionError } from "../../ffi/compression/codec.ts";
import {
  openStreamDecompressor,
  type StreamDecompressor,
} from "../../ffi/compression/stream_codec.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import {
  MULTIFD_METHOD,
  MULTIFD_PACKET_MEMORY,
  type MultifdHandler,
  type MultifdPacket,
} from "../../migration/protocol/multifd.ts";
import { MultifdDecoder } from "../../migration/protocol/multifd_decoder.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { endedEarly } from "./main_rounds.ts";
import { Rounds } from "./rounds.ts";

/** Where a channel's pages go, before LISTEN: what all memories of an incoming migration have. */
export interface ChannelMemory {
  /** The pages that follow are of this block. */
  select(name: string): void;
  /** A page as it is, at `bytes[at..]`, which are at `address`; it stays there until `flush`. */
  page(offset: number, bytes: Uint8Array, at: number, address: number): void;
  /** A zero page. */
  zeroPage(offset: number): void;
  /** All that was given so far is in place when this returns. */
  flush(): void;
}

/** What a channel's task is made from, beside its memory. */
export interface MultifdChannelInit {
  readonly connection: ConnectionInit;
  /** Shared memory of the {@linkcode Rounds}, for how many channels, and this one's number there. */
  readonly rounds: SharedArrayBuffer;
  readonly channels: number;
  readonly participant: number;
  /** Begins a step. */
  readonly wakeFd: number;
  /** Bytes of a target page. */
  readonly targetPageSize: number;
}

/** What it tells the control plane: who it is. */
export interface MultifdHello {
  readonly participant: number;
  readonly id: number;
  /** Of the source's machine, as hexadecimal digits. */
  readonly uuid: string;
}

const SOCKET_SLOT = 0;
const WAKE_SLOT = 1;

/** Bytes of a channel's buffer: as many as a packet has at most, and as few as stay in a cache. */
const BUFFER_BYTES = 512 * 1024;
/** Room for a packet's pages once they are decompressed, and for one too many. */
const UNPACKED_BYTES = MULTIFD_PACKET_MEMORY + 4096;
/** Nanoseconds without input after which the buffer's memory is given back: in postcopy none comes any more. */
const REST = 1e9;

/** Receives one channel. At the end of a round it takes nothing more until all others are there. */
export class MultifdChannel implements Task, MultifdHandler {
  readonly #init: MultifdChannelInit;
  readonly #memory: ChannelMemory;
  readonly #tell: Tell<MultifdHello>;
  readonly #poll: TaskPoll;
  readonly #rounds: Rounds;
  readonly #room: MappedMemory;
  readonly #buffer: ReceiveBuffer;
  readonly #end: ReceivingEnd;
  readonly #decoder: MultifdDecoder;
  #id = -1;
  #held = false;
  /** Whether pages have come since the last mark, or none came yet: then this may not be the end. */
  #open = true;
  #rested = false;
  /** Whether this step is there for what may have come during the last, and not for its time. */
  #again = false;
  #packet!: MultifdPacket;
  /** The packet's pages so far: those that were given on, or bytes that were decompressed. */
  #given = 0;
  #unpacked = 0;
  #method: CompressionMethod | undefined;
  #stream: StreamDecompressor | undefined;

  /**
   * @param init what the control plane prepared
   * @param makeMemory makes where the pages go, of what they are received into
   * @param tell called when it is known who it is
   * @param poll its task's
   */
  constructor(
    init: MultifdChannelInit,
    makeMemory: (buffer: ReceiveBuffer) => ChannelMemory,
    tell: Tell<MultifdHello>,
    poll: TaskPoll,
  ) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    this.#rounds = new Rounds(init.channels, init.rounds);
    this.#room = MappedMemory.anonymous(ReceiveBuffer.roomFor(BUFFER_BYTES) + UNPACKED_BYTES);
    this.#room.adviseSmallPages();
    this.#buffer = new ReceiveBuffer(BUFFER_BYTES, this.#room);
    this.#memory = makeMemory(this.#buffer);
    this.#end = new ReceivingEnd(init.connection, FROM_SOURCE.MULTIFD, this.#buffer);
    this.#decoder = new MultifdDecoder(this, { targetPageSize: init.targetPageSize });
    poll.watch(SOCKET_SLOT, this.#end.fd, PollEvents.IN);
    poll.watch(WAKE_SLOT, init.wakeFd, PollEvents.IN);
    poll.again(); // what came while it was found out who it is is in no socket any more
  }

  /** True while the others are waited for. */
  get held(): boolean {
    return this.#held;
  }

  /**
   * Takes what has come.
   *
   * @returns true at the channel's end, or when it is told to end
   * @throws {MigrationError} when the source goes away in the midst of a round, or sends pages after LISTEN
   * @throws {ProtocolError} when it sends what is no channel of multifd
   */
  step(): boolean {
    if (this.#poll.ready(WAKE_SLOT) !== 0) clearEvent(this.#init.wakeFd);
    if (this.#rounds.stopped) return true;
    if (this.#held) {
      this.#goOn();
      return false;
    }
    const count = this.#end.receive();
    if (count > 0) {
      this.#rested = false;
      this.#rounds.count(this.#init.participant, count);
      this.#decode();
      return false;
    }
    if (this.#end.ended) return this.#over();
    this.#rest();
    return false;
  }

  channel(id: number, uuid: Uint8Array): void {
    this.#id = id;
    this.#tell({ participant: this.#init.participant, id, uuid: uuid.toHex() });
  }

  packet(packet: MultifdPacket): void {
    this.#packet = packet;
    this.#given = 0;
    this.#unpacked = 0;
    // An empty one may follow the last mark: 7.2 has marks and pages share a packet, and makes up for it so.
    if (packet.block !== "") {
      this.#open = true;
      this.#memory.select(packet.block);
    }
    if (packet.normalPages > 0 && packet.method !== MULTIFD_METHOD.NONE) {
      this.#begin(packet.method === MULTIFD_METHOD.ZLIB ? "zlib" : "zstd");
    }
  }

  payload(bytes: Uint8Array, at: number, length: number): void {
    const { method } = this.#packet;
    const { address } = this.#buffer;
    if (method === MULTIFD_METHOD.NONE) return this.#pages(bytes, at, length);
    const to = address + this.#buffer.keptAt + this.#unpacked;
    const room = UNPACKED_BYTES - this.#unpacked;
    const written = this.#stream!.decompress(address + at, length, to, room);
    if (written < 0) throw this.#damaged();
    this.#unpacked += written;
  }

  packetEnd(): void {
    const { sync, method, normalPages, zeroPages, offsets } = this.#packet;
    const memory = this.#memory;
    if (method !== MULTIFD_METHOD.NONE && normalPages > 0) {
      const { bytes, keptAt } = this.#buffer;
      if (this.#unpacked !== normalPages * this.#init.targetPageSize) throw this.#damaged();
      this.#pages(bytes, keptAt, this.#unpacked);
      memory.flush(); // the room is the next packet's
    }
    const end = normalPages + zeroPages;
    if (zeroPages > 0) this.#requireTime();
    for (let index = normalPages; index < end; index++) memory.zeroPage(offsets[index]!);
    if (!sync) return;
    memory.flush();
    this.#open = false;
    const { participant } = this.#init;
    this.#rounds.reach(participant);
    this.#held = !this.#rounds.mayGoOn(participant);
    if (this.#held) this.#poll.watch(SOCKET_SLOT, -1, 0); // it would be found again and again
  }

  /** Frees its buffers and its stream. */
  [Symbol.dispose](): void {
    this.#stream?.close();
    this.#buffer.close();
    this.#room.close();
  }

  /** Takes whole pages, in the packet's order. */
  #pages(bytes: Uint8Array, at: number, length: number): void {
    this.#requireTime();
    const { targetPageSize } = this.#init;
    const { offsets } = this.#packet;
    const { address } = this.#buffer;
    const memory = this.#memory;
    const end = at + length;
    for (let from = at; from < end; from += targetPageSize) {
      memory.page(offsets[this.#given++]!, bytes, from, address + from);
    }
  }

  #decode(): void {
    this.#end.decode(this.#decoder);
    this.#memory.flush(); // the next receipt goes where its pages lie
    this.#again = true;
    this.#poll.again();
  }

  /** Takes what came behind a mark, once all others are there. */
  #goOn(): void {
    const { participant } = this.#init;
    if (this.#rounds.mayGoOn(participant)) {
      this.#held = false;
      this.#poll.watch(SOCKET_SLOT, this.#end.fd, PollEvents.IN);
      return this.#decode();
    }
    if (this.#rounds.missing(participant) > 0) throw endedEarly();
  }

  /** The connection has ended: regularly behind a mark, and nowhere else. */
  #over(): boolean {
    if (this.#open || !this.#end.empty || !this.#decoder.atBoundary) throw this.#end.lost();
    this.#poll.watch(SOCKET_SLOT, -1, 0);
    this.#rounds.end(this.#init.participant);
    return true;
  }

  #begin(method: CompressionMethod): void {
    this.#method ??= method;
    if (this.#method !== method) {
      throw new MigrationError(
        "BAD_PEER",
        `Source changes the compression of multifd channel ${this.#id}: ${this.#method}, ${method}`,
      );
    }
    if (this.#stream !== undefined) return;
    try {
      this.#stream = openStreamDecompressor(method);
    } catch (cause) {
      if (!(cause instanceof CompressionError)) throw cause;
      const instead = "or set multifd-compression none at the source";
      throw new MigrationError("UNSUPPORTED", `${cause.message}, ${instead}`, { cause });
    }
  }

  /** Waits for input without the memory that it goes into. */
  #rest(): void {
    // In the midst of a packet there is what was decompressed of it.
    if (this.#rested || !this.#end.empty || !this.#decoder.atBoundary) return;
    const again = this.#again;
    this.#again = false;
    if (again || this.#poll.found !== 0) return this.#poll.sleep(REST);
    this.#buffer.rest();
    this.#rested = true;
  }

  /** A page that is in place belongs to the guest once that runs, and is no more to be replaced. */
  #requireTime(): void {
    if (!this.#rounds.listening) return;
    throw new MigrationError(
      "BAD_PEER",
      `Source sends pages of RAM block ${this.#packet.block} on multifd channel ${this.#id} after the switch to ` +
        "postcopy: it is no QEMU, or another than one source has connected",
    );
  }

  #damaged(): MigrationError {
    const { block, offsets, normalPages } = this.#packet;
    return new MigrationError(
      "BAD_PEER",
      `Packet of multifd channel ${this.#id} cannot be decompressed (${this.#method}): it does not make ` +
        `${normalPages} pages of RAM block ${block}, the first at ${offsets[0]}`,
    );
  }
}
