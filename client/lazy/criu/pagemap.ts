/** `pagemap-PID.img` of CRIU: which pages a process has, and where their bytes are. */

import { ImageError, TRUNCATED_REMEDY } from "../../../image/image_error.ts";
import { eachNumber } from "./protobuf.ts";

/** The first words of such a file: one for all of CRIU's, one for its own kind (criu/include/magic.h). */
const COMMON_MAGIC = 0x5456_4319;
const PAGEMAP_MAGIC = 0x5608_4025;
/** Flags of an entry. */
const PageFlag = { PARENT: 1, LAZY: 2, PRESENT: 4 } as const;
const KNOWN_FLAGS = PageFlag.PARENT | PageFlag.LAZY | PageFlag.PRESENT;

/** User space ends below, with five levels of tables and numbers that are exact. */
const ADDRESS_LIMIT = Number.MAX_SAFE_INTEGER;

const REMEDY = "see that the directory is one of a criu dump that ended well, copied in full";

/** Where the bytes of an entry are. */
export type PageOrigin = "file" | "parent" | "source";

/** Pages in a row. */
export interface PagemapEntry {
  /** First byte in the process. */
  readonly address: number;
  /** How many. */
  readonly pages: number;
  /** In the file of pages, behind those of the entries before; in the parent's images; or never dumped. */
  readonly origin: PageOrigin;
}

/** What such a file says. */
export interface Pagemap {
  /** Number of the file of pages. */
  readonly pagesId: number;
  readonly entries: readonly PagemapEntry[];
}

/**
 * Reads a `pagemap-PID.img`.
 *
 * @param path for errors
 * @throws {ImageError} when it is none, or of a newer kind
 */
export function readPagemap(bytes: Uint8Array, path: string): Pagemap {
  const [head, ...records] = messagesOf(bytes, path);
  if (head === undefined) throw malformed(path, "Pagemap without a head");
  const pagesId = numbersOf(head, path).get(1) ?? 0;
  return { pagesId, entries: records.flatMap((record) => readEntry(record, path)) };
}

function readEntry(record: Uint8Array, path: string): PagemapEntry[] {
  const numbers = numbersOf(record, path);
  const address = numbers.get(1) ?? 0;
  // The second number of pages is of 64 bits, and counts where it is there.
  const pages = numbers.get(5) ?? numbers.get(2) ?? 0;
  // Images of before CRIU 2 have no flags.
  const flags = numbers.get(4) ?? (numbers.get(3) === 1 ? PageFlag.PARENT : PageFlag.PRESENT);
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    const problem = `Pages with flags that are not known: 0x${flags.toString(16)}`;
    throw new ImageError("unsupported", path, problem, "dump with CRIU 4 or before");
  }
  const end = address + pages * 4096;
  if (address % 4096 !== 0 || end > ADDRESS_LIMIT) {
    throw malformed(path, `Pages where no process has any: ${pages} at 0x${address.toString(16)}`);
  }
  const origin = originOf(flags);
  return pages === 0 || origin === undefined ? [] : [{ address, pages, origin }];
}

function originOf(flags: number): PageOrigin | undefined {
  if ((flags & PageFlag.PRESENT) !== 0) return "file";
  if ((flags & PageFlag.PARENT) !== 0) return "parent";
  return (flags & PageFlag.LAZY) !== 0 ? "source" : undefined;
}

function numbersOf(message: Uint8Array, path: string): Map<number, number> {
  const numbers = new Map<number, number>();
  try {
    eachNumber(message, (field, value) => numbers.set(field, value));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw malformed(path, cause.message, cause);
  }
  return numbers;
}

/** Behind the two words come messages, each behind its length. */
function messagesOf(bytes: Uint8Array, path: string): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const whole = bytes.length >= 8;
  const known = whole && view.getUint32(0, true) === COMMON_MAGIC &&
    view.getUint32(4, true) === PAGEMAP_MAGIC;
  if (!known) {
    throw new ImageError("not-an-image", path, "File that is no pagemap of CRIU", REMEDY);
  }
  const messages: Uint8Array[] = [];
  for (let at = 8; at < bytes.length;) {
    const length = at + 4 <= bytes.length ? view.getUint32(at, true) : Infinity;
    if (at + 4 + length > bytes.length) {
      throw new ImageError("truncated", path, "Image that ends early", TRUNCATED_REMEDY);
    }
    messages.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return messages;
}

function malformed(path: string, problem: string, cause?: unknown): ImageError {
  return new ImageError("malformed", path, problem, REMEDY, { cause });
}
