/** The index of a captured stream as bytes: header, table, reconstructed pages, their checksums, contents. */

import { crc32 } from "node:zlib";
import { MappedMemory } from "../../ffi/memory.ts";
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
const COPIED_AT_ONCE = 2 ** 20;
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
  /** Where in it the stream begins that the index is of, in bytes. */
  readonly streamOffset: number;
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
  // Zeros in an index from before there were others.
  "streamOffset",
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

/**
 * Tells an image from another with its size and time.
 *
 * @param modified milliseconds since 1970
 * @param streamOffset where in it the stream begins, in bytes
 */
export function identifyImage(
  image: MappedMemory,
  modified: number,
  streamOffset: number,
): ImageIdentity {
  const size = image.length;
  const sampled = Math.min(size, SAMPLE_BYTES);
  const head = image.bytes(0, sampled);
  const tail = image.bytes(size - sampled, sampled);
  return { size, modified, sample: checksum(tail, checksum(head)), streamOffset };
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
 * @returns the header, and the table, which the caller closes; or why the index cannot be used
 */
export function checkIndex(index: MappedMemory, image: ImageIdentity): CheckedIndex | string {
  const header = decodeIndexHeader(index.bytes(0, Math.min(index.length, INDEX_HEADER_BYTES)));
  if (typeof header === "string") return header;
  if (
    header.size !== image.size || header.modified !== image.modified ||
    header.sample !== image.sample || header.streamOffset !== image.streamOffset
  ) return "it was made from another image, or the image has changed";
  if (!inOrder(header, index.length)) return "its parts do not make up its length";
  const contents = index.bytes(header.contentsOffset, header.contentsLength);
  if (checksum(contents) !== header.contentsSum) return "its contents fail their checksum";
  const table = copyTable(index, header.pageLimit);
  const problem = problemOfPages(index, header, table);
  if (problem === undefined) return { header, table, contents };
  table.close();
  return problem;
}

/** An index that can be used. */
export interface CheckedIndex {
  readonly header: IndexHeader;
  /** The table, copied: to look at it in its file costs a system call each time. */
  readonly table: MappedMemory;
  /** The contents, copied. */
  readonly contents: Uint8Array<ArrayBuffer>;
}

/**
 * Copies the table of an index into memory: 2 MiB a GiB of the guest.
 *
 * @param index all of it
 * @param pageLimit entries
 */
export function copyTable(index: MappedMemory, pageLimit: number): MappedMemory {
  const table = MappedMemory.anonymous(pageLimit * ENTRY_BYTES);
  try {
    const bytes = table.bytes();
    for (let at = 0; at < bytes.length; at += COPIED_AT_ONCE) {
      index.read(INDEX_HEADER_BYTES + at, bytes.subarray(at, at + COPIED_AT_ONCE));
    }
    return table;
  } catch (error) {
    table.close();
    throw error;
  }
}

/** What is wrong with table and pages; undefined when nothing is. */
function problemOfPages(
  index: MappedMemory,
  header: IndexHeader,
  memory: MappedMemory,
): string | undefined {
  const table = memory.bytes();
  if (checksum(table) !== header.tableSum) return "its table fails its checksum";
  const words = new Uint32Array(table.buffer, table.byteOffset, table.length / 4);
  if (!entriesInside(words, header)) return "its table points outside of the files";
  const sums = index.bytes(sumsOffset(header), header.pagesCount * SUM_BYTES);
  if (checksum(sums) !== header.sumsSum) return "its checksums fail their own";
  const pagesBytes = header.pagesCount * header.pageSize;
  if (pagesBytes > CHECKED_AT_OPENING) return undefined;
  const whole = pagesWhole(index.bytes(header.pagesOffset, pagesBytes), sums, header.pageSize);
  return whole ? undefined : "a reconstructed page fails its checksum";
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
