/** What arrives on one channel, checked for QEMU's rules of host pages. */

import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";

const PAGE = 4096;

/** Pages of both channels: each comes once, with the bytes of the image. */
export class ArrivedPages {
  readonly layout: RamLayout;
  readonly #content: Uint8Array;
  readonly #starts: number[] = [];
  readonly #arrived = new Set<number>();

  /**
   * @param layout the blocks
   * @param content their bytes, one block behind the other
   */
  constructor(layout: RamLayout, content: Uint8Array) {
    this.layout = layout;
    this.#content = content;
    let start = 0;
    for (const block of layout.blocks) {
      this.#starts.push(start);
      start += block.usedLength;
    }
  }

  /** Pages that arrived. */
  get count(): number {
    return this.#arrived.size;
  }

  /** True when all pages of all blocks arrived. */
  get complete(): boolean {
    return this.#arrived.size === this.layout.pageCount;
  }

  /** Notes a page; `bytes` is undefined for a zero page. */
  add(block: RamBlock, offset: number, bytes?: Uint8Array): void {
    if (offset >= block.usedLength) {
      throw new Error(`Page is of no block: ${block.name} at ${offset}`);
    }
    const page = block.firstPage + offset / PAGE;
    if (this.#arrived.has(page)) throw new Error(`Page came twice: ${block.name} at ${offset}`);
    this.#arrived.add(page);
    const at = this.#starts[this.layout.blocks.indexOf(block)]! + offset;
    for (let i = 0; i < PAGE; i++) {
      if (this.#content[at + i] === (bytes?.[i] ?? 0)) continue;
      throw new Error(`Page differs from the image: ${block.name} at ${offset + i}`);
    }
  }
}

/** One channel: the pages of a host page follow one another there, and none is left out. */
export class HostPageLedger extends IgnoreStream {
  /** Host pages that are complete, in their order: `name:number`. */
  readonly complete: string[] = [];
  readonly #pages: ArrivedPages;
  #block: RamBlock | undefined;
  #open = "";
  #parts = 0;

  /** @param pages of all channels */
  constructor(pages: ArrivedPages) {
    super();
    this.#pages = pages;
  }

  /** The host page of which a part has come, `""` for none. */
  get open(): string {
    return this.#open;
  }

  override block(name: string): void {
    this.#block = this.#pages.layout.find(name)!;
  }

  override page(offset: number, bytes: Uint8Array, at: number): void {
    this.#add(offset, bytes.subarray(at, at + PAGE));
  }

  override zeroPage(offset: number): void {
    this.#add(offset);
  }

  #add(offset: number, bytes?: Uint8Array): void {
    const block = this.#block!;
    const hostPage = `${block.name}:${Math.floor(offset / block.pageSize)}`;
    if (this.#open !== "" && this.#open !== hostPage) {
      throw new Error(`Pages of ${hostPage} come inside of ${this.#open}`);
    }
    this.#pages.add(block, offset, bytes);
    this.#open = hostPage;
    if (++this.#parts < block.pagesPerHostPage) return;
    this.complete.push(hostPage);
    this.#open = "";
    this.#parts = 0;
  }
}
