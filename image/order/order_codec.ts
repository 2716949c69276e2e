/** The order of first touch as bytes: whose it is, and the pages by runs. */

import { checksum } from "../capture/index_file.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { ByteWriter } from "../../migration/protocol/byte_writer.ts";
import { Leb128Reader, writeLeb128 } from "../../migration/protocol/leb128.ts";
import { MOST_IDLE, MOST_ORDERED, type OrderList } from "./order_list.ts";

const MAGIC = new TextEncoder().encode("POSTCORD");
const FORMAT_VERSION = 1;
/** Magic, version, CRC-32 of all that follows. */
const HEADER_BYTES = MAGIC.length + 8;
const MOST_STAMP_BYTES = 255;
const MOST_BLOCKS = 4096;
/** Numbers of a run: its distance from the end of the run before, and its length with how idle it is. */
const IDLE_VALUES = MOST_IDLE + 1;

/** Most bytes of a whole file: two numbers of five bytes a page, names, and the rest. */
export const MOST_ORDER_BYTES: number = 10 * MOST_ORDERED + MOST_BLOCKS * 300 + 4096;

/** Whose order it is. */
export interface OrderOwner {
  /** Tells the saved guest from every other, and from its other saves. */
  readonly stamp: string;
  /** Its blocks, in the order of the stream, which number the pages. */
  readonly layout: RamLayout;
}

/** An order, and whose it is. */
export interface OwnedOrder extends OrderOwner {
  readonly list: OrderList;
}

/** Encodes an order of at most {@linkcode MOST_ORDERED} pages. */
export function encodeOrder({ stamp, layout, list }: OwnedOrder): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  writer.name(stamp);
  writeLeb128(writer, layout.targetPageSize);
  writeLeb128(writer, layout.blocks.length);
  for (const { name, pageCount } of layout.blocks) {
    writer.name(name);
    writeLeb128(writer, pageCount);
  }
  writeLeb128(writer, list.pages.length);
  writeRuns(writer, list);
  const body = writer.take();
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(MAGIC.length, FORMAT_VERSION, true);
  view.setUint32(MAGIC.length + 4, checksum(body), true);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/**
 * Reads an order: nothing in it is believed that was not checked.
 *
 * @returns the order, or why it cannot be used, as the end of a sentence about it
 */
export function decodeOrder(bytes: Uint8Array<ArrayBuffer>): OwnedOrder | string {
  if (bytes.length < HEADER_BYTES) return "it is shorter than its header";
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) return "it is no order of this program";
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const version = view.getUint32(MAGIC.length, true);
  if (version !== FORMAT_VERSION) return `its format is of version ${version}`;
  const body = bytes.subarray(HEADER_BYTES);
  if (checksum(body) !== view.getUint32(MAGIC.length + 4, true)) return "it fails its checksum";
  try {
    return new OrderDecoder(body).decode();
  } catch (error) {
    // Its checksum holds, so somebody made it so.
    return `it is malformed: ${(error as Error).message}`;
  }
}

/**
 * Tells why an order is not one of a guest.
 *
 * @returns undefined when it is
 */
export function whyNotOf(owner: OrderOwner, order: OrderOwner): string | undefined {
  const { layout } = owner;
  const same = order.layout.targetPageSize === layout.targetPageSize &&
    order.layout.blocks.length === layout.blocks.length &&
    order.layout.blocks.every(({ name, pageCount }, i) =>
      name === layout.blocks[i]!.name && pageCount === layout.blocks[i]!.pageCount
    );
  if (!same) return "it is of a machine with other RAM blocks";
  return order.stamp === owner.stamp ? undefined : "it is of another save";
}

function writeRuns(writer: ByteWriter, { pages, idle }: OrderList): void {
  let expected = 0;
  for (let at = 0; at < pages.length;) {
    const first = pages[at]!;
    let end = at + 1;
    while (end < pages.length && pages[end] === pages[end - 1]! + 1 && idle[end] === idle[at]) {
      end++;
    }
    const distance = first - expected;
    writeLeb128(writer, distance < 0 ? -2 * distance - 1 : 2 * distance);
    writeLeb128(writer, (end - at - 1) * IDLE_VALUES + idle[at]!);
    expected = first + end - at;
    at = end;
  }
}

class OrderDecoder {
  readonly #bytes: Uint8Array;
  readonly #numbers: Leb128Reader;

  constructor(body: Uint8Array) {
    this.#bytes = body;
    this.#numbers = new Leb128Reader(body, 0, body.length);
  }

  decode(): OwnedOrder {
    const stamp = this.#text(MOST_STAMP_BYTES);
    const targetPageSize = this.#number("a page size", 2 ** 30);
    const blocks = Array.from({ length: this.#number("blocks", MOST_BLOCKS) }, () => ({
      name: this.#text(255),
      usedLength: this.#number("pages of a block", 2 ** 31) * targetPageSize,
    }));
    const layout = new RamLayout(blocks, targetPageSize);
    const list = this.#list(layout);
    if (!this.#numbers.over) throw new Error("something follows its pages");
    return { stamp, layout, list };
  }

  #list(layout: RamLayout): OrderList {
    const count = this.#number("pages", Math.min(layout.pageCount, MOST_ORDERED));
    const pages = new Int32Array(count);
    const idle = new Uint8Array(count);
    const known = new Set<number>(); // not as large as a machine that such a file may speak of
    let expected = 0;
    for (let at = 0; at < count;) {
      const folded = this.#number("a distance", 2 ** 33);
      const first = expected + (folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2);
      const run = this.#number("a run", count * IDLE_VALUES);
      const length = Math.floor(run / IDLE_VALUES) + 1;
      if (length > count - at) throw new Error("a run has more pages than there are");
      if (!isInside(layout, first, length)) throw new Error("a run is in no RAM block");
      for (let page = first; page < first + length; page++, at++) {
        known.add(page);
        pages[at] = page;
        idle[at] = run % IDLE_VALUES;
      }
      if (known.size < at) throw new Error("a page comes twice");
      expected = first + length;
    }
    return { pages, idle };
  }

  #number(what: string, most: number): number {
    const value = this.#numbers.next();
    if (value < 0 || value > most) throw new Error(`${what} cannot be: ${value}`);
    return value;
  }

  #text(most: number): string {
    const from = this.#numbers.at + 1;
    const length = this.#bytes[this.#numbers.at] ?? 0;
    if (length < 1 || length > most || from + length > this.#bytes.length) {
      throw new Error(`a name cannot be of: ${length} bytes`);
    }
    this.#numbers.at = from + length;
    return new TextDecoder("utf-8", { fatal: true }).decode(
      this.#bytes.subarray(from, from + length),
    );
  }
}

function isInside(layout: RamLayout, first: number, length: number): boolean {
  if (first < 0 || first >= layout.pageLimit) return false;
  const { firstPage, pageCount } = layout.blockOf(first);
  return first + length <= firstPage + pageCount;
}
