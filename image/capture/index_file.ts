/** The index of a captured stream as bytes: header, table, reconstructed pages, their checksums, contents. */

import { crc32 } from "node:zlib";
import { isZeroPage } from "../../pages/zero_page.ts";
import { ENTRY_BYTES, IN_INDEX, TableEntry } from "../../pages/table_pages.ts";
import { pageSum } from "../../pages/page_sum.ts";
import { SUM_BYTES } from "../../pages/table_pages.ts";

/** Bytes before the table; the table and what follows it start at multiples of this. */
export const INDEX_HEADER_BYTES = 4096;

const MAGIC = new TextEncoder().encode("POSTCIDX");
/** 2: reconstructed pages have checksums. */
const FORMAT_VERSION = 2;
const BYTES_WITH_CHECKSUM = 256;
const CHECKED_AT_ONCE = 2 ** 30;
/** Bytes of reconstructed pages that are checked when an index is opened: 3 ms from the page cache. */
const CHECKED_AT_OPENING = 16 * 1024 * 1024;
const TWO_TO_32 = 0x1_0000_0000;
/** Bytes of the image's start and of its end that tell it from another of its size and time. */
const SAMPLE_BYTES = 65536;
/** The stream's header lies before any page. */
const FIRST_POSITION = 8;

/** What an index says of the image that it was made from. */
export interface ImageIdentity {
  /** Bytes. */
  readonly size: number;
  /** Time of the last modification, in milliseconds since 1970. */
  readonly modified: number;
  /** CRC-32 of the image's first and last 64 KiB. */
  readonly sample: number;
}

/** Where the parts of an index lie, in bytes from its start, and their checksums. */
export interface IndexHeader extends ImageIdentity {
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Entries in the table, which follows the header. */
  readonly pageLimit: number;
  /** CRC-32 of the table. */
  readonly tableSum: number;
  /** Where the reconstructed pages lie. */
  readonly pagesOffset: number;
  /** How many there are. */
  readonly pagesCount: number;
  /** CRC-32 of their checksums, which follow them. */
  readonly sumsSum: number;
  /** Where the contents lie, JSON; the index ends with them. */
  readonly contentsOffset: number;
  /** Their bytes. */
  readonly contentsLength: number;
  /** CRC-32 of them. */
  readonly contentsSum: number;
}

// All fields are little-endian float64s or u64s below 2^53, which a float64 holds exactly; so the
// header is a list of numbers behind magic and version.
const FIELDS = [
  "size",
  "modified",
  "sample",
  "pageSize",
  "pageLimit",
  "tableSum",
  "pagesOffset",
  "pagesCount",
  "sumsSum",
  "contentsOffset",
  "contentsLength",
  "contentsSum",
] as const satisfies readonly (keyof IndexHeader)[];
const FIELDS_OFFSET = 16;
const CHECKSUM_OFFSET = BYTES_WITH_CHECKSUM - 4;

/** CRC-32 of any number of bytes; the library's own lengths may be of 32 bits. */
export function checksum(bytes: Uint8Array, before = 0): number {
  let sum = before;
  for (let at = 0; at < bytes.length; at += CHECKED_AT_ONCE) {
    sum = crc32(bytes.subarray(at, at + CHECKED_AT_ONCE), sum);
  }
  return sum;
}

/** Tells an image from another with its size and time. */
export function identifyImage(bytes: Uint8Array, modified: number): ImageIdentity {
  const head = bytes.subarray(0, SAMPLE_BYTES);
  const tail = bytes.subarray(Math.max(0, bytes.length - SAMPLE_BYTES));
  return { size: bytes.length, modified, sample: checksum(tail, checksum(head)) };
}

/** Where reconstructed pages begin in the index of a table of that many entries. */
export function pagesOffset(pageLimit: number): number {
  const table = INDEX_HEADER_BYTES + pageLimit * ENTRY_BYTES;
  return Math.ceil(table / INDEX_HEADER_BYTES) * INDEX_HEADER_BYTES;
}

/** Where the checksums of the reconstructed pages lie. */
export function sumsOffset(
  { pagesOffset, pagesCount, pageSize }: Pick<
    IndexHeader,
    "pagesOffset" | "pagesCount" | "pageSize"
  >,
): number {
  return pagesOffset + pagesCount * pageSize;
}

/** Returns the header's bytes. */
export function encodeIndexHeader(header: IndexHeader): Uint8Array {
  const bytes = new Uint8Array(INDEX_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(MAGIC.length, FORMAT_VERSION, true);
  FIELDS.forEach((name, i) => view.setFloat64(FIELDS_OFFSET + i * 8, header[name], true));
  view.setUint32(CHECKSUM_OFFSET, checksum(bytes.subarray(0, CHECKSUM_OFFSET)), true);
  return bytes;
}

/**
 * Reads and checks an index: nothing in it is believed that was not checked. Reconstructed pages are
 * checked here when they are few, so that a damaged index is made anew before a guest depends on it;
 * each of them is checked when it is located.
 *
 * @param index all of the file
 * @param image the image as it is now
 * @returns the header, or why the index cannot be used
 */
export function checkIndex(
  index: Uint8Array<ArrayBuffer>,
  image: ImageIdentity,
): IndexHeader | string {
  const header = decodeIndexHeader(index);
  if (typeof header === "string") return header;
  if (
    header.size !== image.size || header.modified !== image.modified ||
    header.sample !== image.sample
  ) return "it was made from another image, or the image has changed";
  if (!inOrder(header, index.length)) return "its parts do not make up its length";
  const contents = index.subarray(header.contentsOffset);
  if (checksum(contents) !== header.contentsSum) return "its contents fail their checksum";
  const tableBytes = header.pageLimit * ENTRY_BYTES;
  const table = new Uint8Array(index.buffer, index.byteOffset + INDEX_HEADER_BYTES, tableBytes);
  if (checksum(table) !== header.tableSum) return "its table fails its checksum";
  const words = new Uint32Array(table.buffer, table.byteOffset, tableBytes / 4);
  if (!entriesInside(words, header)) return "its table points outside of the files";
  const pages = index.subarray(header.pagesOffset, sumsOffset(header));
  const sums = index.subarray(sumsOffset(header), header.contentsOffset);
  if (checksum(sums) !== header.sumsSum) return "its checksums fail their own";
  if (pages.length <= CHECKED_AT_OPENING && !pagesWhole(pages, sums, header.pageSize)) {
    return "a reconstructed page fails its checksum";
  }
  return header;
}

function decodeIndexHeader(index: Uint8Array<ArrayBuffer>): IndexHeader | string {
  if (index.length < INDEX_HEADER_BYTES) return "it is shorter than its header";
  if (MAGIC.some((byte, i) => index[i] !== byte)) return "it is no index of this program";
  const view = new DataView(index.buffer, index.byteOffset, BYTES_WITH_CHECKSUM);
  const version = view.getUint32(MAGIC.length, true);
  if (version !== FORMAT_VERSION) return `its format is of version ${version}`;
  if (checksum(index.subarray(0, CHECKSUM_OFFSET)) !== view.getUint32(CHECKSUM_OFFSET, true)) {
    return "its header fails its checksum";
  }
  const numbers = FIELDS.map((name, i) => [name, view.getFloat64(FIELDS_OFFSET + i * 8, true)]);
  return Object.fromEntries(numbers) as Record<typeof FIELDS[number], number>;
}

function inOrder(header: IndexHeader, length: number): boolean {
  const whole = FIELDS.every((name) =>
    name === "modified" || (Number.isSafeInteger(header[name]) && header[name] >= 0)
  );
  return whole && header.pagesOffset === pagesOffset(header.pageLimit) &&
    header.contentsOffset === sumsOffset(header) + header.pagesCount * SUM_BYTES &&
    header.contentsOffset + header.contentsLength === length;
}

/** 0.7 ns an entry: 11 ms for the table of a guest of 64 GiB. */
function entriesInside(words: Uint32Array, header: IndexHeader): boolean {
  const last = header.size - header.pageSize;
  const lastHigh = Math.floor(last / TWO_TO_32);
  const lastLow = last % TWO_TO_32;
  for (let i = 0; i < words.length; i += 2) {
    const low = words[i]!;
    const high = words[i + 1]!;
    if (high === 0 && low < FIRST_POSITION) {
      if (low > TableEntry.ZERO) return false;
    } else if (high > lastHigh || (high === lastHigh && low > lastLow)) {
      if (!insidePages(low, high, header)) return false;
    }
  }
  return true;
}

function insidePages(low: number, high: number, header: IndexHeader): boolean {
  if (high < IN_INDEX) return false;
  const at = (high - IN_INDEX) * TWO_TO_32 + low - header.pagesOffset;
  return at >= 0 && at % header.pageSize === 0 && at < header.pagesCount * header.pageSize;
}

function pagesWhole(
  pages: Uint8Array<ArrayBuffer>,
  sums: Uint8Array<ArrayBuffer>,
  pageSize: number,
): boolean {
  const words = new Int32Array(pages.buffer, pages.byteOffset, pages.length / 4);
  const expected = new Uint32Array(sums.buffer, sums.byteOffset, sums.length / SUM_BYTES);
  const count = pageSize / 4;
  return expected.every((sum, i) => pageSum(words, i * count, count) === sum);
}

/** Calls `write` for the parts of a table that are not all zero, so that holes stay holes. */
export function writeSparse(
  words: Uint32Array<ArrayBuffer>,
  write: (position: number, bytes: Uint8Array) => void,
): void {
  const step = 1 << 18; // words: 1 MiB
  const signed = new Int32Array(words.buffer, words.byteOffset, words.length);
  for (let at = 0; at < words.length; at += step) {
    const count = Math.min(step, words.length - at);
    if (isZeroPage(signed, at, count)) continue;
    write(at * 4, new Uint8Array(words.buffer, words.byteOffset + at * 4, count * 4));
  }
}
