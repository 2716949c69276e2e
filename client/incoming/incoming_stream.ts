/** An incoming migration's main channel, element by element: what may come when, and what it means. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import type { DeviceStateTail } from "../../migration/protocol/device_state.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import type { StreamHandler } from "../../migration/protocol/stream.ts";
import type { StreamDecoderOptions } from "../../migration/protocol/stream_decoder.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import type { MainRounds } from "../multifd/main_rounds.ts";
import { AbsentNames } from "./absent_pages.ts";
import { DescribedMachine } from "./described_machine.ts";
import type { IncomingPages } from "./incoming_memory.ts";
import { IncomingPackage } from "./incoming_package.ts";
import {
  devicesFirst,
  memoryNotEnded,
  multifdOff,
  refuseOther,
  requireDevices,
  requireMemory,
} from "./memory_account.ts";
import { PrecopyEnd } from "./precopy_end.ts";
import { useExtensions } from "./source_features.ts";
import type { StreamEvents } from "./stream_events.ts";

/**
 * Takes a stream's elements in QEMU's order (docs/protocol.md sections 3.2 and 4.1) and refuses what
 * has no place in it. Memory goes to {@linkcode IncomingPages}.
 */
export class IncomingStream implements StreamHandler {
  readonly #memory: IncomingPages;
  readonly #events: StreamEvents;
  readonly #multifd: MainRounds | undefined;
  readonly #machine = new DescribedMachine();
  #bufferAddress = 0;
  #returnPath = false;
  #open = false;
  #pagesCame = false;
  #memoryEnded = false;
  readonly #absent = new AbsentNames();
  #listening = false;
  #package: IncomingPackage | undefined;
  #switching = false;
  #switched = false;
  #precopyEnd: PrecopyEnd | undefined;
  #ended = false;
  /** True from a new connection to its RESUME. */
  #recovering = false;

  /**
   * @param memory where the pages go
   * @param events who hears what happens
   * @param multifd channels beside the main one, which is to wait for them: the memory's own
   */
  constructor(memory: IncomingPages, events: StreamEvents, multifd?: MainRounds) {
    this.#multifd = multifd;
    this.#memory = memory;
    this.#events = events;
  }

  /** True from LISTEN on: pages come on demand. */
  get listening(): boolean {
    return this.#listening;
  }

  /**
   * True from the first sign of a switch to postcopy until the device state is here: a QEMU before 10.2 may
   * have stopped the guest for good as far as it knows.
   */
  get switching(): boolean {
    return this.#switching && !this.#switched;
  }

  /** True when the stream has come to its regular end. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Takes over from another that has read the stream to LISTEN, or beyond, and is no more. */
  adopt(machine: StreamMachine): void {
    this.#machine.adopt(machine);
    this.#open = true;
    this.#pagesCame = true;
    this.#listening = true;
    this.#switched = true;
  }

  /**
   * Goes on with another connection: only a source that resumes may follow, from its first request for a
   * bitmap on.
   *
   * @returns what its decoder has to know beforehand
   * @throws {Error} before LISTEN
   */
  recover(): StreamDecoderOptions {
    if (!this.#listening) throw new Error("A stream is resumed after LISTEN only");
    this.#memory.restart();
    this.#package = undefined;
    this.#ended = false;
    this.#recovering = true;
    return this.#machine.resumed();
  }

  /** True while what came waits for pages on their way: {@linkcode IncomingPages.held}. */
  get held(): boolean {
    return this.#memory.held;
  }

  /** Says where the bytes lie that are decoded from now on. */
  readFrom(bufferAddress: number): void {
    this.#bufferAddress = bufferAddress;
  }

  /**
   * The connection has ended.
   *
   * @param said whether the source has closed it; false when it ended without TLS's closing word, which a QEMU
   * does not say either: then the end is the source's where the stream has come to its own, and nowhere else
   * @returns whether that was the regular end, though it may be held; false also in the middle of the
   * device state
   */
  closed(said: boolean): boolean {
    if (this.#precopyEnd === undefined || this.#ended) return this.#ended;
    let tail: DeviceStateTail | undefined;
    try {
      tail = said ? this.#precopyEnd.close() : this.#precopyEnd.cut();
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
    if (tail === undefined) return false;
    this.#arrive(tail);
    return true;
  }

  /**
   * All that has come so far was decoded. A source that describes nothing says nothing more, and waits.
   *
   * @param now monotonic nanoseconds
   * @returns nanoseconds after which to call it again if nothing more comes; Infinity for never
   */
  rest(now: number): number {
    if (this.#precopyEnd === undefined || this.#ended || !this.#returnPath) return Infinity;
    const end = this.#precopyEnd.rest(now);
    if (typeof end === "number") return end;
    this.#arrive(end);
    return Infinity;
  }

  header(): void {}

  configuration(configuration: Configuration): void {
    this.#machine.configure(configuration);
    this.#events.configuration(configuration);
  }

  command(command: Command): void {
    switch (command.kind) {
      case "ping":
        return this.#events.ping(command.value);
      case "open-return-path":
        this.#returnPath = true;
        return this.#events.returnPathOpened();
      case "advise":
        return this.#machine.advise(command);
      case "discard":
        if (!this.#open || this.#listening) {
          throw new MigrationError("BAD_PEER", "Discard before the RAM blocks or after LISTEN");
        }
        this.#absent.refuse("Discard");
        this.#switching = true;
        return this.#memory.discard(command);
      case "listen":
        return this.#listen();
      case "extensions":
        return this.#use(command.names);
      case "absent-pages":
        this.#absent.take(this.#open && !this.#listening, this.#pagesCame);
        return this.#memory.absent(command);
      case "switchover-start":
        return; // nothing is to be prepared
      case "receive-bitmap":
        if (!this.#recovering) break;
        return this.#wantBitmap(command.block);
      case "resume":
        if (!this.#recovering) break; // no connection has broken, or it has resumed
        this.#recovering = false;
        return this.#events.resumed();
    }
    throw new MigrationError(
      "UNSUPPORTED",
      `Source sent a command that is not supported here: ${command.kind}`,
    );
  }

  sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.#machine.section({ id, instance, version });
  }

  sectionPart(_id: number): void {}

  sectionEnd(_id: number): void {
    this.#memoryEnded = true;
  }

  sectionFooter(_id: number): void {
    if (this.#open) this.#memory.flush();
  }

  blockList(total: number): void {
    this.#machine.announce(total);
  }

  blockEntry(entry: BlockEntry): void {
    const machine = this.#machine.block(entry);
    if (machine === undefined) return;
    this.#memory.open(machine);
    this.#open = true;
    this.#events.opened(machine);
  }

  block(name: string): void {
    this.#opened().select(name);
    if (!this.#listening) this.#absent.refuse("Page");
    this.#pagesCame = true;
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#opened().page(offset, bytes, at, this.#bufferAddress + at);
  }

  zeroPage(offset: number, fill: number): void {
    if (fill !== 0) {
      throw new MigrationError("UNSUPPORTED", `Page filled with a byte that is not 0: ${fill}`);
    }
    this.#opened().zeroPage(offset);
  }

  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#opened().xbzrlePage(offset, bytes, at, length);
  }

  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#opened().compressedPage(offset, bytes, at, length);
  }

  mappedRegion(): void {
    throw new MigrationError("UNSUPPORTED", "Source sends a mapped-ram file: that is not a stream");
  }

  multifdFlush(): void {
    if (this.#multifd === undefined) throw multifdOff();
    this.#multifd.flushed();
    this.#awaitChannels();
  }

  endOfSection(): void {
    if (this.#multifd?.sectionEnded() === true) this.#awaitChannels();
  }

  packaged(length: number): void {
    this.#switching = true;
    this.#events.switchover();
    this.#package = new IncomingPackage(length);
    if (length === 0) this.#openPackage(this.#package);
  }

  packagedData(bytes: Uint8Array, at: number, length: number): void {
    this.#package!.add(bytes, at, length);
    if (this.#package!.complete) this.#openPackage(this.#package!);
  }

  deviceState(bytes: Uint8Array, at: number, length: number): void {
    if (this.#precopyEnd === undefined) refuseOther(bytes, at);
    if (!this.#open) throw devicesFirst();
    if (this.#listening || this.#ended) {
      throw new MigrationError("BAD_PEER", "Source sent device state outside the package");
    }
    if (this.#precopyEnd === undefined) this.#events.switchover();
    this.#precopyEnd ??= new PrecopyEnd();
    const tail = this.#precopyEnd.add(bytes, at, length);
    if (tail !== undefined) this.#arrive(tail);
  }

  endOfStream(): void {
    this.#memory.settle(() => this.#end());
  }

  vmDescription(): void {}
  vmDescriptionData(): void {}

  #end(): void {
    requireDevices(this.#listening, this.#switched);
    if (!this.#memoryEnded) throw memoryNotEnded();
    this.#ended = true;
    this.#events.ended();
  }

  /** A mark: nothing behind it is taken before all channels have come to theirs. After LISTEN there is none. */
  #awaitChannels(): void {
    if (this.#listening) return;
    this.#memory.settle(() => {
      this.#multifd!.reach();
      this.#memory.settle(() => {});
    });
  }

  #opened(): IncomingPages {
    if (!this.#open) throw new MigrationError("BAD_PEER", "Page before the list of RAM blocks");
    return this.#memory;
  }

  /** What the source does beyond QEMU's protocol, as it was told that it may. */
  #use(names: readonly string[]): void {
    if (this.#pagesCame) throw new MigrationError("BAD_PEER", "Extensions after the first page");
    useExtensions(names, this.#memory);
    this.#absent.allow(names);
  }

  #listen(): void {
    if (!this.#open || !this.#machine.advised || this.#listening) {
      throw new MigrationError("BAD_PEER", "LISTEN without ADVISE and RAM blocks, or twice");
    }
    this.#memory.settle(() => {
      this.#multifd?.listen();
      this.#memory.listen();
      this.#listening = true;
      this.#events.listening();
    });
  }

  #wantBitmap(name: string): void {
    this.#machine.requireBlock(name);
    this.#events.bitmapWanted(name);
  }

  #openPackage(contents: IncomingPackage): void {
    const { before, deviceState, after } = contents.open();
    this.#package = undefined;
    // LISTEN is in it: whatever that must wait for, the rest must as well.
    this.#memory.settle(() => {
      for (const command of before) this.command(command);
      this.#switched = true;
      this.#events.arrived({ deviceState, commands: after }, false);
    });
  }

  /** The only way to a confirmation that lets a source go whose memory was all to come first. */
  #arrive({ devices, description }: DeviceStateTail): void {
    const deviceState = devices.slice();
    const machine = { deviceState, commands: [] };
    this.#memory.settle(() => {
      requireMemory(deviceState, {
        ended: this.#memoryEnded,
        begun: this.#pagesCame || this.#multifd?.begun === true,
        whole: this.#memory.whole,
        answered: this.#returnPath,
      });
      this.#multifd?.requireEnd();
      this.#ended = true;
      this.#events.arrived(description === undefined ? machine : { ...machine, description }, true);
      this.#events.ended();
    });
  }
}
