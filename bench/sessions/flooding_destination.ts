/** A destination that asks without pause: every request is valid, and what comes is thrown away. */

import { Listener } from "../../ffi/listener.ts";
import type { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { splitPackage } from "../../migration/protocol/package.ts";
import { RamDecoder } from "../../migration/protocol/ram_decoder.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { PING } from "../../server/sending/control_stream.ts";
import { PAGE_BYTES } from "./walk.ts";

/** Requests given to the socket at once; one for a whole block keeps a server busy as hundreds for a page do. */
const REQUESTS_AT_ONCE: Readonly<Record<FloodKind, number>> = { page: 16_384, block: 256 };
const BUFFER_BYTES = 1 << 17;
/** Of the kernel, so that the server has not much left to do when the flood ends. */
const SEND_BUFFER_BYTES = 1 << 18;
/** Pages at the end of the block that the flood leaves out: one for each end of it. */
const SPARE_PAGES = 64;

/** What a request of the flood asks for: a page, or the whole block. */
export type FloodKind = "page" | "block";

/** One session of a server. */
export class FloodingDestination implements Disposable {
  readonly #listener: Listener;
  readonly #stack = new DisposableStack();
  readonly #say = new ReturnPathEncoder();
  readonly #block = { name: "", length: 0 };
  #main: Socket | undefined;
  #loaded = false;
  #ends = 0;
  #awaited = { offset: -1, resolve: () => {} };
  #flooding: Promise<number> | undefined;
  #stop = false;

  private constructor(listener: Listener) {
    this.#listener = this.#stack.use(listener);
  }

  /** Listens at a port that the kernel chooses. */
  static async listen(host: string): Promise<FloodingDestination> {
    return new FloodingDestination(await Listener.listen({ transport: "tcp", host, port: 0 }));
  }

  /** Where it listens. */
  get address(): SocketAddress {
    return this.#listener.address;
  }

  /** Takes a source and plays along until its guest is loaded. */
  async accept(): Promise<void> {
    const main = this.#stack.use(await this.#listener.accept());
    this.#main = main;
    main.setSendBuffer(SEND_BUFFER_BYTES);
    const decoder = new StreamDecoder(this.#handler());
    const buffer = new Uint8Array(BUFFER_BYTES);
    let filled = 0;
    while (!this.#loaded) {
      const count = await main.receive(buffer.subarray(filled));
      if (count === 0) throw new Error("Source went away from the session that floods");
      const end = filled + count;
      const decoded = decoder.decode(buffer, 0, end);
      buffer.copyWithin(0, decoded, end);
      filled = end - decoded;
      if (this.#say.length > 0) await main.sendAll(this.#say.take());
    }
    this.#drain(main, () => {});
    const records = new RamDecoder(this.#pageHandler());
    const preempt = this.#stack.use(await this.#listener.accept());
    this.#drain(preempt, (bytes) => records.feed(bytes));
  }

  /** Begins to ask for all pages, in turn, again and again. */
  flood(kind: FloodKind): void {
    this.#stop = false;
    this.#flooding = this.#flood(kind);
  }

  /**
   * Ends that, and waits until the server has answered all of it: it answers in turn, and last a page that
   * was not asked for before.
   *
   * @returns requests that the server took
   */
  async calm(): Promise<number> {
    this.#stop = true;
    const sent = await this.#flooding ?? 0;
    if (++this.#ends > SPARE_PAGES) {
      throw new RangeError("A flooding destination is calmed too often");
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const { name, length } = this.#block;
    this.#awaited = { offset: length - this.#ends * PAGE_BYTES, resolve };
    const encoder = new ReturnPathEncoder();
    encoder.requestPages(name, this.#awaited.offset, PAGE_BYTES);
    await this.#main!.sendAll(encoder.take());
    await promise;
    return sent;
  }

  /** Closes every connection. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  async #flood(kind: FloodKind): Promise<number> {
    const bytes = this.#requests(kind);
    let sent = 0;
    while (!this.#stop) {
      await this.#main!.sendAll(bytes); // whole, so that what follows begins with a message
      sent += REQUESTS_AT_ONCE[kind];
    }
    return sent;
  }

  #requests(kind: FloodKind): Uint8Array {
    const encoder = new ReturnPathEncoder();
    const { name } = this.#block;
    const length = this.#block.length - SPARE_PAGES * PAGE_BYTES;
    for (let index = 0; index < REQUESTS_AT_ONCE[kind]; index++) {
      if (kind === "block") encoder.requestPages(name, 0, length);
      else encoder.requestPages(name, index * PAGE_BYTES % length, PAGE_BYTES);
    }
    return encoder.take();
  }

  /** Takes what comes, so that the server is never made to wait. */
  async #drain(socket: Socket, take: (bytes: Uint8Array) => void): Promise<void> {
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (let count; (count = await socket.receive(buffer).catch(() => 0)) > 0;) {
      take(buffer.subarray(0, count));
    }
  }

  #pageHandler(): IgnoreStream {
    const came = (offset: number) => {
      if (offset === this.#awaited.offset) this.#awaited.resolve();
    };
    return new class extends IgnoreStream {
      override page(offset: number): void {
        came(offset);
      }
      override zeroPage(offset: number): void {
        came(offset);
      }
    }();
  }

  #handler(): IgnoreStream {
    const pong = (command: Command) => {
      if (command.kind !== "ping") return;
      this.#say.pong(command.value);
      if (command.value === PING.LOADED) this.#loaded = true;
    };
    const block = this.#block;
    const contents: number[] = [];
    return new class extends IgnoreStream {
      override blockEntry({ name, usedLength }: { name: string; usedLength: number }): void {
        block.name = name;
        block.length = usedLength;
      }
      override command(command: Command): void {
        pong(command);
        if (command.kind !== "ping" || command.value !== PING.RUNNING) return;
        for (const each of splitPackage(new Uint8Array(contents)).after) pong(each);
      }
      override packagedData(bytes: Uint8Array, at: number, length: number): void {
        contents.push(...bytes.subarray(at, at + length));
      }
    }();
  }
}
