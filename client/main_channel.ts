/** The main channel at the destination: commands in QEMU's order, and the background stream's pages. */

import { Errno, errnoName } from "../ffi/errno.ts";
import { clearEvent, signalEvent } from "../ffi/eventfd.ts";
import { type Backing, MappedMemory } from "../ffi/memory.ts";
import { PollEvents, PollSet } from "../ffi/poll.ts";
import { receive, sendFrom } from "../ffi/socket_calls.ts";
import { RegisterMode, registerRange } from "../ffi/userfaultfd.ts";
import { PageBitmap } from "../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../migration/memory/ram_layout.ts";
import type { Command } from "../migration/protocol/command.ts";
import type { Configuration } from "../migration/protocol/configuration.ts";
import type { DiscardCommand } from "../migration/protocol/discard.ts";
import type { BlockEntry } from "../migration/protocol/ram.ts";
import { ReturnPathEncoder } from "../migration/protocol/return_path_encoder.ts";
import { StreamDecoder } from "../migration/protocol/stream_decoder.ts";
import type { StreamHandler } from "../migration/protocol/stream.ts";
import type { Ring } from "../migration/threads/ring.ts";
import { BlockMap } from "./block_map.ts";
import { mapBlocks, type MappedBlocks } from "./destination_memory.ts";
import { DestinationState } from "./destination_state.ts";
import { discardRanges } from "./discard_ranges.ts";
import { IncomingPackage } from "./incoming_package.ts";
import { MigrationError } from "../migration/migration_error.ts";
import { PageSink } from "./page_sink.ts";
import { landedRing, ReturnPathMessage, returnPathRing } from "./return_path_ring.ts";

/** What the background worker's reader is made from; structured-cloned into the worker. */
export interface MainChannelInit {
  /** The main channel's socket. */
  readonly mainFd: number;
  /** The userfaultfd. */
  readonly uffd: number;
  /** Ends this thread's waits. */
  readonly wakeFd: number;
  /** Ends the fault worker's waits. */
  readonly faultWakeFd: number;
  /** Shared memory of the {@linkcode DestinationState}. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of the ring of PONGs to the fault worker. */
  readonly answers: SharedArrayBuffer;
  /** Shared memory of the ring of requested pages placed here. */
  readonly landed: SharedArrayBuffer;
  /** How guest memory is backed. */
  readonly backing: Backing;
}

/** What the threads share once the blocks are known. */
export interface ListeningBlocks {
  /** Where the blocks lie. The control plane owns the mappings from here on. */
  readonly mapped: MappedBlocks;
  /** Shared memory of the bitmap of pages in place. */
  readonly received: SharedArrayBuffer;
  /** Shared memory of the bitmap of pages asked for. */
  readonly requested: SharedArrayBuffer;
}

/** What the background worker tells the control plane. */
export type MainChannelMessage =
  | { readonly kind: "configuration"; readonly machine: string }
  | { readonly kind: "blocks"; readonly blocks: ListeningBlocks }
  | { readonly kind: "listen" }
  | {
    readonly kind: "package";
    readonly deviceState: Uint8Array;
    /** PINGs and RUN that follow the device state. */
    readonly commands: readonly Command[];
  }
  | { readonly kind: "paused"; readonly code: string; readonly reason: string };

/** Half of L2 on the usual host: what recv brings in is still cached when it is placed. */
const RECEIVE_BYTES = 512 * 1024;

/** Reads the main channel on the background worker's thread. */
export class MainChannel implements StreamHandler, Disposable {
  readonly #init: MainChannelInit;
  readonly #tell: (message: MainChannelMessage) => void;
  readonly #state: DestinationState;
  readonly #answers: Ring;
  readonly #landed: Ring;
  readonly #decoder = new StreamDecoder(this);
  readonly #buffer = MappedMemory.anonymous(RECEIVE_BYTES);
  readonly #bytes = this.#buffer.bytes();
  readonly #poll = new PollSet(2);
  readonly #entries: BlockEntry[] = [];
  #announced = 0;
  #targetPageSize = 4096;
  #advised = false;
  #blocks: ListeningBlocks | undefined;
  #layout: RamLayout | undefined;
  #received: PageBitmap | undefined;
  #sink: PageSink | undefined;
  #listening = false;
  #package: IncomingPackage | undefined;
  #switched = false;
  #ended = false;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   */
  constructor(init: MainChannelInit, tell: (message: MainChannelMessage) => void) {
    this.#init = init;
    this.#tell = tell;
    this.#state = new DestinationState(init.state);
    this.#answers = returnPathRing(init.answers);
    this.#landed = landedRing(init.landed);
    this.#poll.watch(0, init.mainFd, PollEvents.IN);
    this.#poll.watch(1, init.wakeFd, PollEvents.IN);
  }

  /**
   * Reads until the stream ends or it is told to stop. Once pages are asked for on demand a source
   * that goes away only pauses: the pages that are missing stay missing and their users held.
   *
   * @throws {MigrationError} when the source goes away or asks for what cannot be, before LISTEN
   * @throws {ProtocolError} when the stream is malformed, before LISTEN
   */
  read(): void {
    try {
      this.#read();
    } catch (error) {
      if (!this.#listening || !(error instanceof Error)) throw error;
      this.#state.pause();
      signalEvent(this.#init.faultWakeFd);
      const code = (error as { code?: string }).code ?? "UNKNOWN";
      this.#tell({ kind: "paused", code, reason: error.message });
    }
  }

  header(): void {}

  configuration(configuration: Configuration): void {
    if ((configuration.capabilities?.length ?? 0) > 0) {
      throw new MigrationError(
        "UNSUPPORTED",
        `Source has capabilities on that are not supported: ${configuration.capabilities}`,
      );
    }
    if (configuration.targetPageBits !== undefined) {
      this.#targetPageSize = 2 ** configuration.targetPageBits;
    }
    this.#tell({ kind: "configuration", machine: configuration.machine });
  }

  command(command: Command): void {
    switch (command.kind) {
      case "ping":
        return this.#pong(command.value);
      case "advise":
        return this.#advise(command);
      case "discard":
        return this.#discard(command);
      case "listen":
        return this.#listen();
      case "open-return-path":
      case "switchover-start":
        return; // the return path is the same socket, and nothing is to be prepared
      default:
        throw new MigrationError(
          "UNSUPPORTED",
          `Source sent a command that is not supported here: ${command.kind}`,
        );
    }
  }

  sectionStart(_id: number, _name: string, _instance: number, version: number): void {
    if (version !== 4) {
      throw new MigrationError("UNSUPPORTED", `Version of the ram section is not 4: ${version}`);
    }
  }

  sectionPart(_id: number): void {}
  sectionEnd(_id: number): void {}

  sectionFooter(_id: number): void {
    this.#sink?.flush();
  }

  blockList(total: number): void {
    if (this.#blocks !== undefined) {
      throw new MigrationError("BAD_PEER", "Source announces its RAM blocks a second time");
    }
    this.#announced = total;
  }

  blockEntry(entry: BlockEntry): void {
    if (entry.pageSize !== undefined && entry.pageSize !== this.#targetPageSize) {
      throw new MigrationError(
        "UNSUPPORTED",
        `Huge pages are not supported: RAM block ${entry.name} has pages of ${entry.pageSize}`,
      );
    }
    this.#entries.push(entry);
    this.#announced -= entry.usedLength;
    if (this.#announced <= 0) this.#map();
  }

  block(name: string): void {
    this.#pages().select(name);
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#pages().page(offset, bytes, at, this.#buffer.address + at);
  }

  zeroPage(offset: number, fill: number): void {
    if (fill !== 0) {
      throw new MigrationError("UNSUPPORTED", `Page filled with a byte that is not 0: ${fill}`);
    }
    this.#pages().zeroPage(offset);
  }

  xbzrlePage(): void {
    throw new MigrationError("UNSUPPORTED", "Source sends XBZRLE pages: turn xbzrle off there");
  }

  compressedPage(): void {
    throw new MigrationError(
      "UNSUPPORTED",
      "Source sends compressed pages: turn compress off there",
    );
  }

  mappedRegion(): void {
    throw new MigrationError("UNSUPPORTED", "Source sends a mapped-ram file: that is not a stream");
  }

  multifdFlush(): void {}
  endOfSection(): void {}

  packaged(length: number): void {
    this.#package = new IncomingPackage(length);
    if (length === 0) this.#openPackage(this.#package);
  }

  packagedData(bytes: Uint8Array, at: number, length: number): void {
    this.#package!.add(bytes, at, length);
    if (this.#package!.complete) this.#openPackage(this.#package!);
  }

  deviceState(): void {
    throw new MigrationError(
      "UNSUPPORTED",
      "Source sent device state outside a package: start postcopy before it ends",
    );
  }

  endOfStream(): void {
    this.#sink?.flush();
    this.#ended = true;
    if (!this.#listening) {
      throw new MigrationError(
        "UNSUPPORTED",
        "Source ended without switching to postcopy: turn postcopy-ram on there",
      );
    }
    if (!this.#switched) {
      throw new MigrationError("BAD_PEER", "Source ended without sending the device state");
    }
    this.#state.setMainEnded();
    signalEvent(this.#init.faultWakeFd);
  }

  vmDescription(): void {}
  vmDescriptionData(): void {}

  /** Frees its buffer. */
  close(): void {
    this.#buffer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #read(): void {
    const { mainFd, wakeFd } = this.#init;
    const address = BigInt(this.#buffer.address);
    let filled = 0;
    while (!this.#state.stopped && !this.#state.paused && !this.#ended) {
      const count = receive(mainFd, address + BigInt(filled), RECEIVE_BYTES - filled);
      if (count > 0) {
        this.#state.addMainBytes(count);
        const end = filled + count;
        const decoded = this.#decoder.decode(this.#bytes, 0, end);
        this.#sink?.flush();
        if (decoded < end) this.#bytes.copyWithin(0, decoded, end);
        filled = end - decoded;
      } else if (count === -Errno.EAGAIN) {
        this.#poll.wait(-1);
        if (this.#poll.ready(1) !== 0) clearEvent(wakeFd);
      } else if (count !== -Errno.EINTR) {
        const how = count === 0 ? "it closed the connection" : errnoName(-count);
        throw new MigrationError("CONNECTION_LOST", `Source went away: main channel: ${how}`);
      }
    }
  }

  #pages(): PageSink {
    if (this.#sink === undefined) {
      throw new MigrationError("BAD_PEER", "Page before the list of RAM blocks");
    }
    return this.#sink;
  }

  /** Until LISTEN this thread owns the return path; afterwards the fault worker does. */
  #pong(value: number): void {
    if (this.#listening) {
      this.#answers.push(ReturnPathMessage.PONG, value);
      signalEvent(this.#init.faultWakeFd);
      return;
    }
    const encoder = new ReturnPathEncoder();
    encoder.pong(value);
    const message = encoder.take();
    const sent = sendFrom(this.#init.mainFd, message, message.length);
    if (sent < 0 && sent !== -Errno.EAGAIN) {
      throw new MigrationError(
        "CONNECTION_LOST",
        `Source went away: return path: ${errnoName(-sent)}`,
      );
    }
    if (sent !== message.length) {
      throw new MigrationError("CONNECTION_LOST", "Source does not read the return path");
    }
  }

  #advise(command: Extract<Command, { kind: "advise" }>): void {
    if (command.ram === undefined) {
      throw new MigrationError("UNSUPPORTED", "Source has postcopy-ram off: turn it on there");
    }
    const { pageSizeSummary, targetPageSize } = command.ram;
    if (targetPageSize !== this.#targetPageSize || pageSizeSummary !== targetPageSize) {
      throw new MigrationError(
        "UNSUPPORTED",
        `Page sizes other than ${this.#targetPageSize} are not supported: target page ` +
          `${targetPageSize}, all pages 0x${pageSizeSummary.toString(16)}`,
      );
    }
    this.#advised = true;
  }

  #map(): void {
    const { uffd, backing } = this.#init;
    const mapped = mapBlocks(this.#entries, this.#targetPageSize, backing);
    const map = new BlockMap(mapped);
    const received = new PageBitmap(map.layout.pageLimit);
    const requested = new PageBitmap(map.layout.pageLimit);
    this.#blocks = { mapped, received: received.buffer, requested: requested.buffer };
    this.#layout = map.layout;
    this.#received = received;
    this.#tell({ kind: "blocks", blocks: this.#blocks });
    const onLanded = (page: number) => {
      // Full only when the fault worker stands still; a latency more or less then.
      this.#landed.push(page);
      signalEvent(this.#init.faultWakeFd);
    };
    this.#sink = new PageSink(map, this.#state, uffd, received, requested, "main", onLanded);
  }

  #discard(command: DiscardCommand): void {
    if (this.#blocks === undefined || this.#listening) {
      throw new MigrationError("BAD_PEER", "Discard before the RAM blocks or after LISTEN");
    }
    const dropped = discardRanges(this.#blocks.mapped, this.#layout!, this.#received!, command);
    this.#state.addReceived(-dropped);
  }

  #listen(): void {
    const blocks = this.#blocks;
    if (blocks === undefined || !this.#advised || this.#listening) {
      throw new MigrationError("BAD_PEER", "LISTEN without ADVISE and RAM blocks, or twice");
    }
    for (const { address, length } of blocks.mapped.blocks) {
      registerRange(this.#init.uffd, address, length, RegisterMode.MISSING);
    }
    this.#sink!.listen();
    this.#listening = true;
    this.#tell({ kind: "listen" });
  }

  #openPackage(contents: IncomingPackage): void {
    const { before, deviceState, after } = contents.open();
    this.#package = undefined;
    for (const command of before) this.command(command);
    this.#switched = true;
    // The control plane loads it while this thread goes on reading: loading may touch missing pages.
    this.#tell({ kind: "package", deviceState, commands: after });
  }
}
