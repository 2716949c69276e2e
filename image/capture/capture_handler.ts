/** The pages of a captured stream, which come as records. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { type Command, ProtocolError } from "../../migration/protocol/mod.ts";
import { ImageHandler } from "../stream/image_handler.ts";
import type { PageTable } from "./page_table.ts";
import type { ReconstructedPages } from "./reconstructed_pages.ts";

/** What pages go into, once the blocks are known. */
export interface PageSink {
  readonly table: PageTable;
  readonly reconstructed: ReconstructedPages;
}

/** Makes the sink for the pages of a layout. */
export type OpenPageSink = (layout: RamLayout) => PageSink;

/**
 * Takes in the elements of a captured stream. Pages are not copied: their positions are entered in a
 * table, the last one of a page wins.
 */
export class CaptureHandler extends ImageHandler {
  readonly #openSink: OpenPageSink;
  #sink: PageSink | undefined;
  // The block that records are of, flattened: the page path reads three numbers.
  #blockName = "";
  #firstPage = 0;
  #usedLength = 0;
  #pageSize = 0;

  /** @param openSink called once, with the layout, before the first page */
  constructor(path: string, openSink: OpenPageSink) {
    super(path);
    this.#openSink = openSink;
  }

  override endOfSection(): void {
    this.#requireSink();
  }

  override block(name: string): void {
    this.#requireSink();
    const layout = this.requireLayout();
    const block = layout.find(name);
    if (block === undefined) {
      throw this.error("malformed", `Capture with pages of an unannounced RAM block: ${name}`);
    }
    this.#blockName = name;
    this.#firstPage = block.firstPage;
    this.#usedLength = block.usedLength;
    this.#pageSize = layout.targetPageSize;
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
    super.command(command);
    if (command.kind === "discard") {
      for (const { start, length } of command.ranges) this.#discard(command.block, start, length);
    }
  }

  /** The number of the page at an offset of the current block. */
  #pageAt(offset: number, position?: number): number {
    if (offset >= this.#usedLength) {
      throw this.error(
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
    const layout = this.requireLayout();
    const block = layout.find(name);
    const size = layout.targetPageSize;
    const whole = start % size === 0 && length % size === 0;
    if (block === undefined || !whole || start + length > block.usedLength) {
      throw this.error("malformed", `Capture that discards memory that is not there: ${name}`);
    }
    this.#sink!.table.forget(block.firstPage + start / size, length / size);
  }

  #requireSink(): void {
    this.#sink ??= this.#openSink(this.requireLayout());
  }

  #badPage(error: unknown, position: number): unknown {
    if (!(error instanceof ProtocolError)) return error;
    const problem = `Capture with a bad page: expected ${error.expected}, found ${error.found},`;
    return this.error("malformed", problem, undefined, position, error);
  }
}
