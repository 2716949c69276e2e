/** A source that sends what a test tells it, whole or not, right or wrong. */

import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { discardCommands } from "../../migration/protocol/discard.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import { RamEncoder } from "../../migration/protocol/ram_encoder.ts";
import { ReturnPathDecoder } from "../../migration/protocol/return_path_decoder.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";

/** What the scripted source's memory holds. */
export const PATTERN = { seed: 99, zeroEvery: 5 };
const SECTION = 2;

/** What came on the return path. */
export interface Heard {
  readonly pongs: number[];
  readonly requests: { block: string; start: number; length: number }[];
  readonly shuts: number[];
  readonly extensions: string[];
}

/** What came on the return path for a source that resumes. */
export interface HeardResuming {
  /** Receive bitmaps that came whole, by block. */
  readonly bitmaps: Map<string, Uint8Array>;
  /** Answers to RESUME. */
  readonly acks: number[];
}

/** The source's end of both channels. */
export class HostileSource implements Disposable {
  /** What goes to the main channel: {@linkcode HostileSource.flush} sends it. */
  readonly stream = new StreamEncoder();
  /** What goes to the preempt channel. */
  readonly records = new RamEncoder();
  /** What came on the return path. */
  readonly heard: Heard = { pongs: [], requests: [], shuts: [], extensions: [] };
  /** What came for a source that resumes. */
  readonly resuming: HeardResuming = { bitmaps: new Map(), acks: [] };
  /** Approvals of the switchover that came; undefined while none may come. */
  approvals: number | undefined;
  readonly #to: SocketAddress;
  readonly #blocks: Readonly<Record<string, number>>;
  readonly #pattern = new TestPattern(PATTERN);
  readonly #page = new Uint8Array(4096);
  readonly #buffer = new Uint8Array(65536);
  readonly #decoder: ReturnPathDecoder;
  readonly #stack = new DisposableStack();
  #filled = 0;
  #resumes = false;
  #main: Socket | undefined;
  #preempt: Socket | undefined;

  /**
   * @param to where the destination listens
   * @param blocks pages of each block, by name
   */
  constructor(to: SocketAddress, blocks: Readonly<Record<string, number>> = { ram: 64 }) {
    this.#to = to;
    this.#blocks = blocks;
    const { pongs, requests, shuts, extensions } = this.heard;
    const { bitmaps, acks } = this.resuming;
    const unexpected = () => {
      throw new Error("Destination sent what no destination sends here");
    };
    let bitmap = { block: "", bytes: new Uint8Array(0), filled: 0 };
    this.#decoder = new ReturnPathDecoder({
      pong: (value) => void pongs.push(value),
      requestPages: (block, start, length) => void requests.push({ block, start, length }),
      shut: (value) => void shuts.push(value),
      receivedBitmap: (block, size) => {
        if (!this.#resumes || bitmaps.has(block)) unexpected();
        bitmap = { block, bytes: new Uint8Array(size), filled: 0 };
      },
      receivedBitmapData: (bytes, at, length) => {
        bitmap.bytes.set(bytes.subarray(at, at + length), bitmap.filled);
        bitmap.filled += length;
      },
      receivedBitmapEnd: () => void bitmaps.set(bitmap.block, bitmap.bytes),
      resumeAck: (value) => {
        if (!this.#resumes) unexpected();
        acks.push(value);
      },
      switchoverAck: () => {
        if (this.approvals === undefined) unexpected();
        this.approvals!++;
      },
      extensions: (names) => void extensions.push(...names),
    });
  }

  /** The main channel. */
  get main(): Socket {
    return this.#main!;
  }

  /** Connects the main channel. */
  async connect(): Promise<void> {
    this.#main = this.#stack.use(await Socket.connect(this.#to));
  }

  /** Connects the preempt channel. */
  async connectPreempt(): Promise<Socket> {
    this.#preempt = this.#stack.use(await Socket.connect(this.#to));
    return this.#preempt;
  }

  /** Sends what was encoded, or bytes of any kind. A destination that has gone is no error. */
  async flush(bytes: Uint8Array = this.stream.take()): Promise<void> {
    await this.#main!.sendAll(bytes).catch(() => {});
  }

  /** Sends what was encoded for the preempt channel. */
  async flushPreempt(bytes: Uint8Array = this.records.take()): Promise<void> {
    await this.#preempt!.sendAll(bytes).catch(() => {});
  }

  /** Encodes header to ADVISE. */
  encodeAdvise(): void {
    this.stream.header();
    this.stream.configuration({ machine: "postcopy-workload" });
    this.stream.command({ kind: "open-return-path" });
    this.stream.command({ kind: "ping", value: 1 });
    const ram = { pageSizeSummary: 4096, targetPageSize: 4096 };
    this.stream.command({ kind: "advise", ram });
  }

  /** Encodes what a source says first that resumes: it asks for the receive bitmap of every block. */
  encodeRecovery(): void {
    this.#resumes = true;
    for (const block of Object.keys(this.#blocks)) {
      this.stream.command({ kind: "receive-bitmap", block });
    }
  }

  /** Pages of all blocks together that are in no bitmap that came. */
  missing(): number[] {
    const missing: number[] = [];
    let first = 0;
    for (const [name, count] of Object.entries(this.#blocks)) {
      const bitmap = this.resuming.bitmaps.get(name)!;
      for (let page = 0; page < count; page++) {
        if (((bitmap[page >> 3]! >> (page & 7)) & 1) === 0) missing.push(first + page);
      }
      first += count;
    }
    return missing;
  }

  /** Encodes the block list's section. */
  encodeBlocks(): void {
    const entries = Object.entries(this.#blocks);
    this.stream.sectionStart(SECTION, "ram", 0, 4);
    this.stream.blockList(entries.reduce((total, [, pages]) => total + pages * 4096, 0));
    for (const [name, pages] of entries) {
      this.stream.blockEntry({ name, usedLength: pages * 4096 });
    }
    this.stream.endOfSection();
    this.stream.sectionFooter(SECTION);
  }

  /** Encodes discards and the package. */
  encodeSwitchover(
    after: readonly Command[] = [{ kind: "ping", value: 3 }, { kind: "run" }],
  ): void {
    let pages = 0;
    for (const [name, count] of Object.entries(this.#blocks)) {
      pages += count;
      for (const command of discardCommands(name, [{ start: 0, length: count * 4096 }])) {
        this.stream.command(command);
      }
    }
    const devices = encodeWorkloadState({ ...PATTERN, pages });
    const contents = joinPackage({ before: [{ kind: "listen" }], devices, after });
    this.stream.packaged(contents.length);
    this.stream.packagedData(contents, 0, contents.length);
    this.stream.command({ kind: "ping", value: 4 });
  }

  /** Encodes all before the pages, and sends it. */
  async switchOver(): Promise<void> {
    this.encodeAdvise();
    this.encodeBlocks();
    this.encodeSwitchover();
    await this.flush();
  }

  /** Connects the main channel, and switches over. */
  async connectAndSwitch(): Promise<void> {
    await this.connect();
    await this.switchOver();
  }

  /**
   * Encodes pages in a section of the main channel.
   *
   * @param pages their numbers in all blocks together
   * @param change a byte added to the first of each page, to make it wrong
   */
  encodePages(pages: Iterable<number>, change = 0): void {
    this.stream.sectionPart(SECTION);
    for (const page of pages) this.#encodePage(this.stream, page, change);
    this.stream.endOfSection();
    this.stream.sectionFooter(SECTION);
  }

  /** Sends pages on the main channel, see {@linkcode HostileSource.encodePages}. */
  async sendPages(pages: Iterable<number>, change = 0): Promise<void> {
    this.encodePages(pages, change);
    await this.flush();
  }

  /** Sends pages on the main channel, and the regular end. */
  async sendLast(pages: Iterable<number>, change = 0): Promise<void> {
    this.encodePages(pages, change);
    this.encodeEnd();
    await this.flush();
  }

  /** Sends pages on the preempt channel. */
  async sendUrgent(pages: Iterable<number>): Promise<void> {
    this.encodeUrgent(pages);
    await this.flushPreempt();
  }

  /** Encodes pages for the preempt channel. */
  encodeUrgent(pages: Iterable<number>): void {
    for (const page of pages) this.#encodePage(this.records, page, 0);
  }

  /** Encodes the regular end. */
  encodeEnd(): void {
    this.stream.sectionEnd(SECTION);
    this.stream.endOfSection();
    this.stream.sectionFooter(SECTION);
    this.stream.endOfStream();
  }

  /** Reads the return path until something holds, or its end. */
  async hear(holds: (heard: Heard, resuming: HeardResuming) => boolean): Promise<void> {
    while (!holds(this.heard, this.resuming)) {
      const count = await this.#main!.receive(this.#buffer.subarray(this.#filled)).catch(() => 0);
      if (count === 0) return;
      const end = this.#filled + count;
      const decoded = this.#decoder.decode(this.#buffer, 0, end);
      this.#buffer.copyWithin(0, decoded, end);
      this.#filled = end - decoded;
    }
  }

  /** Closes every connection. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #encodePage(encoder: RamEncoder, page: number, change: number): void {
    let first = 0;
    for (const [name, count] of Object.entries(this.#blocks)) {
      if (page < first + count) {
        encoder.block(name);
        break;
      }
      first += count;
    }
    const offset = (page - first) * 4096;
    if (this.#pattern.isZero(page) && change === 0) return encoder.zeroPage(offset, 0);
    this.#pattern.expectedPage(page, new Int32Array(this.#page.buffer));
    this.#page[0]! += change;
    encoder.page(offset, this.#page, 0);
  }
}
