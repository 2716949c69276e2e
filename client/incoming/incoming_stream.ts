/** An incoming migration's main channel, element by element: what may come when, and what it means. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import { EXTENSION } from "../../migration/protocol/extensions.ts";
import type { DeviceStateTail } from "../../migration/protocol/device_state.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import type { StreamHandler } from "../../migration/protocol/stream.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import type { IncomingPages } from "./incoming_memory.ts";
import { IncomingPackage } from "./incoming_package.ts";
import { PrecopyEnd } from "./precopy_end.ts";

/** A machine at the switchover: all that is needed to run it but the pages still to come. */
export interface ArrivedMachine {
  /** SECTION_FULL elements of its devices, opaque. */
  readonly deviceState: Uint8Array<ArrayBuffer>;
  /** PINGs and RUN, to be obeyed once the device state is loaded; none when all memory came before. */
  readonly commands: readonly Command[];
  /** How the source describes the device state, JSON; only where all memory came before. */
  readonly description?: string;
}

/** What happens in a stream, for whoever reads it. */
export interface StreamEvents {
  /** The machine type is known. */
  configuration(configuration: Configuration): void;
  /** The source listens to what is said in the other direction. */
  returnPathOpened(): void;
  /** The source wants an answer. */
  ping(value: number): void;
  /** {@linkcode IncomingMemory.open} has been called. */
  opened(): void;
  /** {@linkcode IncomingMemory.listen} has been called: the source serves requests. */
  listening(): void;
  /** The guest has stopped at the source: its device state begins to arrive. */
  switchover(): void;
  /** The device state is here; `precopy` when all of the memory is too. */
  arrived(machine: ArrivedMachine, precopy: boolean): void;
  /** The end, regular and complete. */
  ended(): void;
}

/**
 * Takes a stream's elements in QEMU's order (docs/protocol.md sections 3.2 and 4.1) and refuses what
 * has no place in it. Memory goes to {@linkcode IncomingPages}.
 */
export class IncomingStream implements StreamHandler {
  readonly #memory: IncomingPages;
  readonly #events: StreamEvents;
  readonly #entries: BlockEntry[] = [];
  #bufferAddress = 0;
  #configuration: Configuration | undefined;
  #targetPageSize = 4096;
  #section: RamSection | undefined;
  #pageSizeSummary: number | undefined;
  #announced = 0;
  #open = false;
  #pagesCame = false;
  #listening = false;
  #package: IncomingPackage | undefined;
  #switched = false;
  #precopyEnd: PrecopyEnd | undefined;
  #ended = false;

  /**
   * @param memory where the pages go
   * @param events who hears what happens
   */
  constructor(memory: IncomingPages, events: StreamEvents) {
    this.#memory = memory;
    this.#events = events;
  }

  /** True from LISTEN on: pages come on demand. */
  get listening(): boolean {
    return this.#listening;
  }

  /** True when the stream has come to its regular end. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Says where the bytes lie that are decoded from now on. */
  readFrom(bufferAddress: number): void {
    this.#bufferAddress = bufferAddress;
  }

  /**
   * The source has closed the connection.
   *
   * @returns whether that was the regular end; false also in the middle of the device state
   */
  closed(): boolean {
    if (this.#precopyEnd === undefined || this.#ended) return this.#ended;
    let tail: DeviceStateTail;
    try {
      tail = this.#precopyEnd.close();
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
    this.#arrive(tail);
    return true;
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
    this.#configuration = configuration;
    this.#events.configuration(configuration);
  }

  command(command: Command): void {
    switch (command.kind) {
      case "ping":
        return this.#events.ping(command.value);
      case "open-return-path":
        return this.#events.returnPathOpened();
      case "advise":
        return this.#advise(command);
      case "discard":
        if (!this.#open || this.#listening) {
          throw new MigrationError("BAD_PEER", "Discard before the RAM blocks or after LISTEN");
        }
        return this.#memory.discard(command);
      case "listen":
        return this.#listen();
      case "extensions":
        return this.#use(command.names);
      case "switchover-start":
        return; // nothing is to be prepared
      default:
        throw new MigrationError(
          "UNSUPPORTED",
          `Source sent a command that is not supported here: ${command.kind}`,
        );
    }
  }

  sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.#section = { id, instance, version };
  }

  sectionPart(_id: number): void {}
  sectionEnd(_id: number): void {}

  sectionFooter(_id: number): void {
    if (this.#open) this.#memory.flush();
  }

  blockList(total: number): void {
    this.#announced = total;
  }

  blockEntry(entry: BlockEntry): void {
    this.#entries.push(entry);
    this.#announced -= entry.usedLength;
    if (this.#announced > 0) return;
    if (this.#configuration === undefined) {
      throw new MigrationError(
        "UNSUPPORTED",
        "Source does not say its machine type: use one that does, all since QEMU 2.4",
      );
    }
    const summary = this.#pageSizeSummary;
    this.#memory.open({
      configuration: this.#configuration,
      ramSection: this.#section!,
      targetPageSize: this.#targetPageSize,
      blocks: this.#entries,
      ...summary === undefined ? {} : { pageSizeSummary: summary },
    });
    this.#open = true;
    this.#events.opened();
  }

  block(name: string): void {
    this.#opened().select(name);
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

  multifdFlush(): void {}
  endOfSection(): void {}

  packaged(length: number): void {
    this.#events.switchover();
    this.#package = new IncomingPackage(length);
    if (length === 0) this.#openPackage(this.#package);
  }

  packagedData(bytes: Uint8Array, at: number, length: number): void {
    this.#package!.add(bytes, at, length);
    if (this.#package!.complete) this.#openPackage(this.#package!);
  }

  deviceState(bytes: Uint8Array, at: number, length: number): void {
    if (!this.#open) {
      throw new MigrationError(
        "UNSUPPORTED",
        "Source sent device state before its memory: remove the devices that do so (virtio-mem)",
      );
    }
    if (this.#listening || this.#ended) {
      throw new MigrationError("BAD_PEER", "Source sent device state outside the package");
    }
    if (this.#precopyEnd === undefined) this.#events.switchover();
    this.#precopyEnd ??= new PrecopyEnd();
    const tail = this.#precopyEnd.add(bytes, at, length);
    if (tail !== undefined) this.#arrive(tail);
  }

  endOfStream(): void {
    this.#memory.settle();
    if (!this.#listening) {
      throw new MigrationError("UNSUPPORTED", "Source ended without any device state");
    }
    if (!this.#switched) {
      throw new MigrationError("BAD_PEER", "Source ended without sending the device state");
    }
    this.#ended = true;
    this.#events.ended();
  }

  vmDescription(): void {}
  vmDescriptionData(): void {}

  #opened(): IncomingPages {
    if (!this.#open) throw new MigrationError("BAD_PEER", "Page before the list of RAM blocks");
    return this.#memory;
  }

  #advise(command: Extract<Command, { kind: "advise" }>): void {
    if (command.ram === undefined) {
      throw new MigrationError("UNSUPPORTED", "Source has postcopy-ram off: turn it on there");
    }
    const { pageSizeSummary, targetPageSize } = command.ram;
    if (targetPageSize !== this.#targetPageSize) {
      throw new MigrationError(
        "UNSUPPORTED",
        `Target pages other than ${this.#targetPageSize} bytes are not supported: ${targetPageSize}`,
      );
    }
    this.#pageSizeSummary = pageSizeSummary;
  }

  /** What the source does beyond QEMU's protocol, as it was told that it may. */
  #use(names: readonly string[]): void {
    if (this.#pagesCame) throw new MigrationError("BAD_PEER", "Extensions after the first page");
    for (const name of names) {
      switch (name) {
        case EXTENSION.ZSTD:
          this.#memory.compressedBy("zstd");
          break;
        case EXTENSION.COMPRESS_POSTCOPY:
          break; // a page is as welcome then as before
        default:
          throw new MigrationError(
            "UNSUPPORTED",
            `Source uses an extension that is not known here, take the same version for both: ${name}`,
          );
      }
    }
  }

  #listen(): void {
    if (!this.#open || this.#pageSizeSummary === undefined || this.#listening) {
      throw new MigrationError("BAD_PEER", "LISTEN without ADVISE and RAM blocks, or twice");
    }
    this.#memory.listen();
    this.#listening = true;
    this.#events.listening();
  }

  #openPackage(contents: IncomingPackage): void {
    const { before, deviceState, after } = contents.open();
    this.#package = undefined;
    for (const command of before) this.command(command);
    this.#switched = true;
    this.#events.arrived({ deviceState, commands: after }, false);
  }

  #arrive({ devices, description }: DeviceStateTail): void {
    this.#memory.settle();
    this.#ended = true;
    const deviceState = devices.slice();
    const machine = { deviceState, commands: [] };
    this.#events.arrived(description === undefined ? machine : { ...machine, description }, true);
    this.#events.ended();
  }
}
