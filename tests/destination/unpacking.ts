/** Compressed pages on their way through decompression threads to a memory that only keeps them. */

import { assertEquals } from "@std/assert";
import { DecompressingPages } from "../../client/decompression/decompressing_pages.ts";
import {
  type Decompression,
  decompressionShape,
} from "../../client/decompression/decompression.ts";
import { DecompressionThreads } from "../../client/decompression/decompression_threads.ts";
import type { IncomingMemory } from "../../client/incoming/incoming_memory.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { MAIN_CHANNEL_BYTES } from "../../client/incoming/stream_reader.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { compressionLibrary } from "../../ffi/compression/codec.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { Own, Shared, State } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { WaitingPages } from "./waiting_pages.ts";
import { until } from "../support/deadline.ts";
import type { Random } from "../support/random.ts";

const PAGE = 4096;

// Outside of any test, where the resource sanitizer takes a library for a leak.
compressionLibrary("zstd");

const WORDS = "a page of memory that is sent from one host to another once and no more".split(" ");

/** Fills a page with words, some hundred bytes when compressed. */
export function writeText(random: Random, page: Uint8Array<ArrayBuffer>): void {
  const words = Array.from({ length: random.between(20, 60) }, () => random.pick(WORDS));
  const text = new TextEncoder().encode(`${random.u32()} ${words.join(" ")}. `);
  for (let at = 0; at < page.length; at += text.length) {
    page.set(text.subarray(0, page.length - at), at);
    text[random.below(text.length)] = random.between(65, 90);
  }
}

/** A page that waits to be written, in memory that is its until the flush. */
interface Waiting {
  readonly bytes: Uint8Array | undefined;
  readonly at: number;
  readonly target: Uint8Array;
}

/** Memory that takes its pages at the flush, as an image is written. */
export class KeptMemory implements IncomingMemory {
  readonly whole = false;
  /** What happened but for the pages, in order. */
  readonly log: string[] = [];
  readonly #blocks = new Map<string, Uint8Array>();
  #waiting: Waiting[] = [];
  #selected = new Uint8Array(0);

  /** A block's content. */
  block(name: string): Uint8Array {
    return this.#blocks.get(name)!;
  }

  open({ blocks }: StreamMachine): void {
    for (const { name, usedLength } of blocks) this.#blocks.set(name, new Uint8Array(usedLength));
  }

  select(name: string): void {
    this.#selected = this.block(name) as Uint8Array<ArrayBuffer>;
  }

  page(offset: number, bytes: Uint8Array, at: number, _address: number): void {
    const target = this.#selected.subarray(offset, offset + PAGE);
    this.#waiting.push({ bytes, at, target });
  }

  zeroPage(offset: number): void {
    const target = this.#selected.subarray(offset, offset + PAGE);
    this.#waiting.push({ bytes: undefined, at: 0, target });
  }

  xbzrlePage(offset: number): void {
    this.flush();
    this.#selected[offset]! += 1;
  }

  flush(): void {
    for (const { bytes, at, target } of this.#waiting) {
      if (bytes === undefined) target.fill(0);
      else target.set(bytes.subarray(at, at + PAGE));
    }
    this.#waiting = [];
  }

  discard(): void {
    this.log.push(`discard with ${this.#waiting.length} waiting`);
  }

  absent(): void {
    this.log.push("absent");
  }

  restart(): void {
    this.log.push(`restart with ${this.#waiting.length} waiting`);
  }

  listen(): void {
    this.log.push(`listen with ${this.#waiting.length} waiting`);
  }
}

/** What the thread that reads has, on the test's own thread. */
export class Unpacking implements AsyncDisposable {
  readonly memory = new KeptMemory();
  readonly threads: DecompressionThreads;
  readonly shared: Decompression;
  readonly buffer: ReceiveBuffer;
  /** Signalled when a page can be put in place that the reader waits for. */
  readonly wake = new Eventfd();
  readonly rings: WorkRings;
  readonly #machine: StreamMachine;
  readonly #method: CompressionMethod;
  readonly #begin: (unpacking: Unpacking) => void;
  pages: WaitingPages;

  /** @param begin starts the threads */
  constructor(
    threads: number,
    machine: StreamMachine,
    method: CompressionMethod,
    begin: (unpacking: Unpacking) => void = () => this.threads.start(method, this.wake.fd),
  ) {
    this.#machine = machine;
    this.#method = method;
    this.#begin = begin;
    this.threads = new DecompressionThreads(threads);
    this.shared = this.threads.shared;
    this.buffer = new ReceiveBuffer(MAIN_CHANNEL_BYTES, this.shared.memory);
    this.rings = new WorkRings(decompressionShape(threads), this.shared.rings);
    this.pages = this.#open();
  }

  /** Opens a memory and starts the threads. */
  static async start(
    threads: number,
    machine: StreamMachine,
    method: CompressionMethod,
  ): Promise<Unpacking> {
    const unpacking = new Unpacking(threads, machine, method);
    await unpacking.entered();
    return unpacking;
  }

  /** Waits until all threads take pages. */
  async entered(): Promise<void> {
    await until("the threads", () => this.in(State.ENTERED) === this.shared.threads);
  }

  /** Threads in a state. */
  in(state: number): number {
    const { words } = this.rings;
    let count = 0;
    for (let worker = 0; worker < this.shared.threads; worker++) {
      const at = Shared.WORKERS + worker * Own.WORDS + Own.STATE;
      if (Atomics.load(words, at) === state) count++;
    }
    return count;
  }

  /** Goes on with the same threads after what must end a migration. */
  reopen(): void {
    this.pages.close();
    const rings = new WorkRings(decompressionShape(this.shared.threads), this.shared.rings);
    while (rings.outstanding > 0) if (rings.take() < 0) rings.awaitResult(Infinity);
    rings.release();
    this.pages = this.#open();
  }

  /** Sends a compressed page from the buffer that the main channel is received into. */
  send(block: string, offset: number, packed: Uint8Array): void {
    this.pages.select(block);
    this.buffer.bytes.set(packed, 100);
    this.pages.compressedPage(offset, this.buffer.bytes, 100, packed.length);
  }

  /** Sends a page as it is. */
  sendRaw(block: string, offset: number, page: Uint8Array): void {
    this.pages.select(block);
    this.buffer.bytes.set(page, 20_000);
    this.pages.page(offset, this.buffer.bytes, 20_000, this.buffer.address + 20_000);
    this.pages.flush(); // the input is taken
  }

  /** Compares a block. */
  assertBlock(name: string, expected: Uint8Array): void {
    const found = this.memory.block(name);
    for (let at = 0; at < expected.length; at++) {
      if (found[at] !== expected[at]) assertEquals([at, found[at]], [at, expected[at]], name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pages.close();
    await this.threads.close();
    this.wake.close();
  }

  #open(): WaitingPages {
    const begin = () => this.#begin(this);
    const own = new DecompressingPages(this.memory, this.buffer, this.shared, begin);
    const pages = new WaitingPages(own, this.wake.fd);
    pages.open(this.#machine);
    pages.compressedBy(this.#method);
    return pages;
  }
}
