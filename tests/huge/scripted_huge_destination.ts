/** A destination of huge pages that asks for what it likes and checks what comes. */

import { Listener } from "../../ffi/listener.ts";
import type { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import { splitPackage } from "../../migration/protocol/package.ts";
import { RamDecoder } from "../../migration/protocol/ram_decoder.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ArrivedPages, HostPageLedger } from "./host_page_ledger.ts";

/** Reads both channels of a source, as the events come. */
export class ScriptedHugeDestination implements Disposable {
  /** The block list as it came. */
  readonly entries: BlockEntry[] = [];
  /** The discards as they came. */
  readonly discards: DiscardCommand[] = [];
  /** How many of them came before the first page. */
  discardsBefore = 0;
  /** Pages that had come before the last discard. */
  cameBefore = 0;
  /** What it says it understands beyond QEMU's protocol; default nothing, as QEMU. */
  understands: readonly string[] | undefined;
  /** The page-size summary of ADVISE. */
  summary = 0;
  /** What came on the main channel, and on the preempt channel. */
  readonly main: HostPageLedger;
  readonly preempt: HostPageLedger;
  readonly #pages: ArrivedPages;
  readonly #say = new ReturnPathEncoder();
  readonly #stack = new DisposableStack();
  readonly #listener: Listener;
  readonly #watchers = new Set<() => void>();
  #socket: Socket | undefined;
  #running = false;
  #ended = false;
  #held: Promise<void> = Promise.resolve();
  readonly #holds = new Map<number, Promise<void>>();
  #sent: Promise<void> = Promise.resolve();

  private constructor(listener: Listener, layout: RamLayout, content: Uint8Array) {
    this.#listener = this.#stack.use(listener);
    this.#pages = new ArrivedPages(layout, content);
    this.main = this.#mainLedger();
    this.preempt = new HostPageLedger(this.#pages);
  }

  /** Listens at a port of the loopback for an image of these blocks and bytes. */
  static async listen(layout: RamLayout, content: Uint8Array): Promise<ScriptedHugeDestination> {
    return new ScriptedHugeDestination(await Listener.listen(LOOPBACK), layout, content);
  }

  /** Where it listens. */
  get address(): SocketAddress {
    return this.#listener.address;
  }

  /** True when every page came. */
  get complete(): boolean {
    return this.#pages.complete;
  }

  /** Pages that came. */
  get received(): number {
    return this.#pages.count;
  }

  /**
   * Plays the migration to its end: takes the channels, answers PINGs and, when the source ended the
   * stream, confirms.
   *
   * @param withPreempt whether the source opens a second channel
   */
  async play(withPreempt: boolean): Promise<void> {
    this.#socket = this.#stack.use(await this.#listener.accept());
    const decoder = new StreamDecoder(this.main);
    const reading = [
      this.#read(this.#socket, (bytes, end) => decoder.decode(bytes, 0, end)),
    ];
    if (withPreempt) {
      const socket = this.#stack.use(await this.#listener.accept());
      const records = new RamDecoder(this.preempt);
      reading.push(this.#read(socket, (bytes, end) => records.decode(bytes, 0, end)));
    }
    await Promise.all(reading);
  }

  /** Asks for a range of a block. */
  async ask(block: string, start: number, length: number): Promise<void> {
    this.#say.requestPages(block, start, length);
    await this.#send();
  }

  /** Says bytes on the return path, whatever they are. */
  async say(bytes: Uint8Array): Promise<void> {
    this.#sent = this.#sent.then(() => this.#socket!.sendAll(bytes).catch(() => {}));
    await this.#sent;
  }

  /**
   * Reads nothing more on either channel until the promise resolves.
   *
   * @param ping from the moment at which it has read this PING; default at once
   */
  hold(until: Promise<void>, ping?: number): void {
    if (ping === undefined) this.#held = until;
    else this.#holds.set(ping, until);
  }

  /** Waits until something holds; it is looked at after each piece of input. */
  async when(holds: () => boolean): Promise<void> {
    while (!holds()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#watchers.add(resolve);
      await promise;
    }
  }

  /** True once the source has ended the stream; before it is confirmed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** True once the guest would run: from here on pages may be asked for. */
  get running(): boolean {
    return this.#running;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  async #read(
    socket: Socket,
    decode: (bytes: Uint8Array, end: number) => number,
  ): Promise<void> {
    const buffer = new Uint8Array(1 << 17);
    let filled = 0;
    while (true) {
      await this.#held;
      const count = await socket.receive(buffer.subarray(filled)).catch(() => 0);
      if (count === 0) return;
      const end = filled + count;
      const decoded = decode(buffer, end);
      buffer.copyWithin(0, decoded, end);
      filled = end - decoded;
      await this.#send();
      for (const resolve of this.#watchers) resolve();
      this.#watchers.clear();
    }
  }

  /** One after the other: a message of which a part is sent must go on before the next. */
  #send(): Promise<void> {
    if (this.#ended && this.#pages.complete) {
      this.#ended = false;
      this.#say.shut(0);
    }
    if (this.#say.length > 0) {
      const bytes = this.#say.take();
      this.#sent = this.#sent.then(() => this.#socket!.sendAll(bytes).catch(() => {}));
    }
    return this.#sent;
  }

  #mainLedger(): HostPageLedger {
    const pong = (command: Command) => {
      if (command.kind !== "ping") return;
      this.#held = this.#holds.get(command.value) ?? this.#held;
      if (command.value === EXTENSION_COOKIE && this.understands !== undefined) {
        this.#say.extensions(this.understands);
      }
      this.#say.pong(command.value);
    };
    const entries = this.entries;
    const advised = (summary: number) => this.summary = summary;
    const discarded = (command: DiscardCommand) => {
      this.discards.push(command);
      this.cameBefore = this.received;
      if (this.received === 0) this.discardsBefore = this.discards.length;
    };
    const run = () => this.#running = true;
    const end = () => this.#ended = true;
    const contents: number[] = [];
    return new class extends HostPageLedger {
      override blockEntry(entry: BlockEntry): void {
        entries.push(entry);
      }
      override command(command: Command): void {
        pong(command);
        if (command.kind === "discard") discarded(command);
        if (command.kind === "advise") advised(command.ram!.pageSizeSummary);
        if (command.kind === "ping" && command.value === 4) {
          for (const each of splitPackage(new Uint8Array(contents)).after) pong(each);
          run();
        }
      }
      override packagedData(bytes: Uint8Array, at: number, length: number): void {
        contents.push(...bytes.subarray(at, at + length));
      }
      override endOfStream(): void {
        end();
      }
    }(this.#pages);
  }
}
