/** What the elements of a captured stream say of its image. */

import { RamLayout } from "../../migration/memory/ram_layout.ts";
import {
  type BlockEntry,
  CAPABILITY,
  type Command,
  type Configuration,
  DEFAULT_TARGET_PAGE_SIZE,
  ELEMENT,
  hasCapability,
  IgnoreStream,
  ProtocolError,
} from "../../migration/protocol/mod.ts";
import { DAMAGED_REMEDY, ImageError, type ImageErrorCode } from "./image_error.ts";
import type { CommandCount, RamSection } from "./image.ts";
import type { PageTable } from "./page_table.ts";
import type { ReconstructedPages } from "./reconstructed_pages.ts";

/** What pages go into, once the blocks are known. */
export interface PageSink {
  readonly table: PageTable;
  readonly reconstructed: ReconstructedPages;
}

/** Makes the sink for the pages of a layout. */
export type OpenPageSink = (layout: RamLayout) => PageSink;

const RECAPTURE = "capture the machine again, without this";
const POSTCOPY_REMEDY = "this is a recording of a postcopy migration: capture one without postcopy";
/** Commands that only a postcopy migration sends, whose pages go over more than this stream. */
const POSTCOPY_COMMANDS: readonly Command["kind"][] = ["listen", "run", "resume", "receive-bitmap"];

/**
 * Takes in the elements of a captured stream. Pages are not copied: their positions are entered in a
 * table, the last one of a page wins.
 */
export class CaptureHandler extends IgnoreStream {
  /** Offset in the file of `bytes[0]` of what is being decoded. */
  origin = 0;
  /** The configuration as the stream has it. */
  streamConfiguration: Configuration | undefined;
  /** The memory section's identity. */
  ramSection: RamSection | undefined;
  /** The blocks as announced. */
  readonly blocks: BlockEntry[] = [];
  /** The blocks with their pages numbered; once all are announced. */
  layout: RamLayout | undefined;
  /** Offset in the file of the first section that cannot be delimited; -1 before it is met. */
  opaqueStart = -1;
  /** The memory section came to its end. */
  ramEnded = false;
  /** The EOF byte came. */
  streamEnded = false;

  readonly #path: string;
  readonly #openSink: OpenPageSink;
  readonly #commands = new Map<string, number>();
  #sink: PageSink | undefined;
  #bytesAnnounced = 0;
  #pageSize: number = DEFAULT_TARGET_PAGE_SIZE;
  // The block that records are of, flattened: the page path reads two numbers.
  #blockName = "";
  #firstPage = 0;
  #usedLength = 0;

  /** @param openSink called once, with the layout, before the first page */
  constructor(path: string, openSink: OpenPageSink) {
    super();
    this.#path = path;
    this.#openSink = openSink;
  }

  /** The commands met so far. */
  get commands(): CommandCount[] {
    return [...this.#commands].map(([kind, count]) => ({ kind, count }));
  }

  override configuration(configuration: Configuration): void {
    this.streamConfiguration = configuration;
    if (hasCapability(configuration, CAPABILITY.MAPPED_RAM)) {
      throw this.#error(
        "unsupported",
        "Capture in the mapped-ram format, which cannot be served yet",
        "capture with the capability mapped-ram off, for example migrate exec:cat>FILE",
      );
    }
    if (hasCapability(configuration, CAPABILITY.IGNORE_SHARED)) {
      throw this.#error(
        "unsupported",
        "Capture with the capability x-ignore-shared, which leaves memory out",
        RECAPTURE,
      );
    }
    const { targetPageBits } = configuration;
    if (targetPageBits !== undefined) this.#pageSize = 2 ** targetPageBits;
    if (this.#pageSize !== DEFAULT_TARGET_PAGE_SIZE) {
      throw this.#error(
        "unsupported",
        `Capture of a machine with pages of ${this.#pageSize} bytes`,
        "only machines with pages of 4096 bytes can be served yet",
      );
    }
  }

  override sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.ramSection = { id, instance, version };
  }

  override sectionEnd(_id: number): void {
    this.ramEnded = true;
  }

  override blockEntry(entry: BlockEntry): void {
    this.blocks.push(entry);
  }

  override blockList(total: number): void {
    this.#bytesAnnounced = total;
  }

  override endOfSection(): void {
    this.#requireSink();
  }

  override block(name: string): void {
    this.#requireSink();
    const block = this.layout!.find(name);
    if (block === undefined) {
      throw this.#error("malformed", `Capture with pages of an unannounced RAM block: ${name}`);
    }
    this.#blockName = name;
    this.#firstPage = block.firstPage;
    this.#usedLength = block.usedLength;
  }

  override page(offset: number, _bytes: Uint8Array, at: number): void {
    const position = this.origin + at;
    this.#sink!.table.setInImage(this.#pageAt(offset, position), position);
  }

  override zeroPage(offset: number, fill: number): void {
    const page = this.#pageAt(offset);
    if (fill === 0) this.#sink!.table.setZero(page);
    else this.#sink!.reconstructed.fill(page, fill);
  }

  override xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    const position = this.origin + at;
    const page = this.#pageAt(offset, position);
    try {
      this.#sink!.reconstructed.applyXbzrle(page, bytes, at, length);
    } catch (error) {
      throw this.#badPage(error, position);
    }
  }

  override compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    const position = this.origin + at;
    const page = this.#pageAt(offset, position);
    try {
      this.#sink!.reconstructed.inflate(page, bytes, at, length);
    } catch (error) {
      throw this.#badPage(error, position);
    }
  }

  override command(command: Command): void {
    const { kind } = command;
    if (POSTCOPY_COMMANDS.includes(kind)) {
      throw this.#error("unsupported", `Stream with the command ${kind}`, POSTCOPY_REMEDY);
    }
    this.#commands.set(kind, (this.#commands.get(kind) ?? 0) + 1);
    if (command.kind === "discard") {
      for (const { start, length } of command.ranges) this.#discard(command.block, start, length);
    }
  }

  override packaged(_length: number): void {
    throw this.#error("unsupported", "Stream with a package of device state", POSTCOPY_REMEDY);
  }

  override deviceState(bytes: Uint8Array, at: number, _length: number): void {
    if (this.opaqueStart >= 0) return;
    this.opaqueStart = this.origin + at;
    if (bytes[at] !== ELEMENT.SECTION_FULL) {
      const name = new TextDecoder().decode(bytes.subarray(at + 6, at + 6 + bytes[at + 5]!));
      throw this.#error(
        "unsupported",
        `Capture with a section of unknown length, ${name},`,
        "detach the device, or capture with the capability off, that adds it",
        this.opaqueStart,
      );
    }
  }

  override endOfStream(): void {
    this.streamEnded = true;
  }

  /** The number of the page at an offset of the current block. */
  #pageAt(offset: number, position?: number): number {
    if (offset >= this.#usedLength) {
      throw this.#error(
        "malformed",
        `Capture with a page at ${offset} of RAM block ${this.#blockName}, which has ${this.#usedLength} bytes,`,
        undefined,
        position,
      );
    }
    return this.#firstPage + offset / this.#pageSize;
  }

  #discard(name: string, start: number, length: number): void {
    this.#requireSink();
    const block = this.layout!.find(name);
    const whole = start % this.#pageSize === 0 && length % this.#pageSize === 0;
    if (block === undefined || !whole || start + length > block.usedLength) {
      throw this.#error("malformed", `Capture that discards memory that is not there: ${name}`);
    }
    this.#sink!.table.forget(block.firstPage + start / this.#pageSize, length / this.#pageSize);
  }

  #requireSink(): void {
    if (this.#sink !== undefined) return;
    const announced = this.blocks.reduce((sum, block) => sum + block.usedLength, 0);
    if (announced === 0 || announced !== this.#bytesAnnounced) {
      throw this.#error("malformed", "Capture without a list of RAM blocks");
    }
    try {
      this.layout = new RamLayout(this.blocks, this.#pageSize);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : `${cause}`;
      throw this.#error("malformed", message, undefined, this.origin, cause);
    }
    this.#sink = this.#openSink(this.layout);
  }

  #badPage(error: unknown, position: number): unknown {
    if (!(error instanceof ProtocolError)) return error;
    const problem = `Capture with a bad page: expected ${error.expected}, found ${error.found},`;
    return this.#error("malformed", problem, undefined, position, error);
  }

  #error(
    code: ImageErrorCode,
    problem: string,
    remedy: string = DAMAGED_REMEDY,
    offset?: number,
    cause?: unknown,
  ): ImageError {
    const options = {
      ...(offset === undefined ? {} : { offset }),
      ...(cause === undefined ? {} : { cause }),
    };
    return new ImageError(code, this.#path, problem, remedy, options);
  }
}
