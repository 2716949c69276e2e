/** The pages of a captured stream, which come as records. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { type Command, ProtocolError } from "../../migration/protocol/mod.ts";
import { ContentsHandler } from "../stream/contents_handler.ts";
import type { PageTable } from "./page_table.ts";
import type { ReconstructedPages } from "./reconstructed_pages.ts";

/** Where it is noted what a page's content is, once the blocks are known. */
export interface PageIndex {
  /** Where each page lies. */
  readonly table: PageTable;
  /** The pages that lie nowhere in the image as they are. */
  readonly reconstructed: ReconstructedPages;
}

/** Makes the index of the pages of a layout. */
export type OpenPageIndex = (layout: RamLayout) => PageIndex;

/**
 * Takes in the elements of a captured stream. Pages are not copied: their positions are entered in a
 * table, the last one of a page wins.
 */
export class CaptureHandler extends ContentsHandler {
  readonly #openIndex: OpenPageIndex;
  #index: PageIndex | undefined;
  // The block that records are of, flattened: the page path reads three numbers.
  #blockName = "";
  #firstPage = 0;
  #usedLength = 0;
  #pageSize = 0;

  /** @param openIndex called once, with the layout, before the first page */
  constructor(path: string, openIndex: OpenPageIndex) {
    super(path);
    this.#openIndex = openIndex;
  }

  override endOfSection(): void {
    this.#requireIndex();
  }

  override block(name: string): void {
    this.#requireIndex();
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
    this.#index!.table.setInImage(this.#pageAt(offset, position), position);
  }

  override zeroPage(offset: number, fill: number): void {
    const page = this.#pageAt(offset);
    if (fill === 0) this.#index!.table.setZero(page);
    else this.#index!.reconstructed.fill(page, fill);
  }

  override xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    const position = this.origin + at;
    const page = this.#pageAt(offset, position);
    try {
      this.#index!.reconstructed.applyXbzrle(page, bytes, at, length);
    } catch (error) {
      throw this.#badPage(error, position);
    }
  }

  override compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    const position = this.origin + at;
    const page = this.#pageAt(offset, position);
    try {
      this.#index!.reconstructed.inflate(page, bytes, at, length);
    } catch (error) {
      throw this.#badPage(error, position);
    }
  }

  /** A file in mapped-ram may be written by several threads; of a stream the other channels are not here. */
  override multifdFlush(): void {
    throw this.error(
      "unsupported",
      "Capture with the capability multifd on, whose pages went over other connections",
      "capture the machine again with multifd off",
    );
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
    this.#requireIndex();
    const layout = this.requireLayout();
    const block = layout.find(name);
    const size = layout.targetPageSize;
    const whole = start % size === 0 && length % size === 0;
    if (block === undefined || !whole || start + length > block.usedLength) {
      throw this.error("malformed", `Capture that discards memory that is not there: ${name}`);
    }
    this.#index!.table.forget(block.firstPage + start / size, length / size);
  }

  #requireIndex(): void {
    this.#index ??= this.#openIndex(this.requireLayout());
  }

  #badPage(error: unknown, position: number): unknown {
    if (!(error instanceof ProtocolError)) return error;
    const problem = `Capture with a bad page: expected ${error.expected}, found ${error.found},`;
    return this.error("malformed", problem, undefined, position, error);
  }
}
