/**
 * Builds the boot sector of the test guest: a program without an operating system that keeps
 * changing memory, checks it, and counts its rounds on the serial port.
 *
 * In each round the guest visits every page of its working set once. It compares the page with what
 * it wrote there in the round before, says `BAD page XXXXXXXX` when that is not what it finds, and
 * writes the next value. After the round it prints `round XXXXXXXX` (hexadecimal, from 1). So a
 * restored guest tests its own memory: the numbers go on without a gap and no line begins with `BAD`.
 *
 * @module
 */
import {
  bootableSector,
  GUEST_PAGE_SIZE,
  INCREMENT,
  MULTIPLIER,
  RESERVED_ABOVE,
  WORKING_SET_ADDRESS,
} from "./bare_machine.ts";
import { GUEST_CODE, HISTOGRAM_BINS, PAGE_FACTOR, RECORD, RECORD_WORDS } from "./guest_code.ts";

export { GUEST_PAGE_SIZE, RESERVED_ABOVE, WORKING_SET_ADDRESS };

/** What the guest does. */
export interface GuestOptions {
  /** MiB of the working set: a power of two, at most 1024. Default 16. */
  workingSetMiB?: number;
  /** Order of the pages in a round. Default "random". */
  order?: "random" | "sequential";
  /** Whether rounds after the first write their pages anew or only check them. Default "write". */
  access?: "write" | "read";
  /** Bytes filled and checked in each page: a multiple of 4, up to the whole page (the default). */
  bytesPerPage?: number;
  /** Empty loops after each page, some nanoseconds each: lowers the rate. Default 0. */
  pause?: number;
  /** Prints a dot every so many pages, so that a resumed guest is heard at once. Default 0: never. */
  tick?: number;
  /** Prints the latency of the first touch of each page after each round. Default false. */
  latency?: boolean;
}

/** Latency of the first touch of every page in a round, in ticks of the guest's time-stamp counter. */
export interface GuestLatency {
  /** Time-stamp counter at the end of the round: two of them and a clock give its frequency. */
  tsc: number;
  /** Sum over the round's pages. */
  sum: number;
  /** Bin n counts the touches that took [2^n, 2^(n+1)) ticks. */
  histogram: number[];
}

/** What one line of the guest's says. */
export interface RoundLine {
  /** Rounds finished since the guest booted. */
  round: number;
  /** Present when the guest was built with `latency`. */
  latency?: GuestLatency;
}

/**
 * Builds the 512-byte boot sector.
 *
 * @param options What the guest does.
 * @returns The image of a bootable disk of one sector.
 * @throws {RangeError} When an option is out of range.
 *
 * @example
 * ```ts no-assert
 * const sector = buildBootSector({ workingSetMiB: 32, order: "sequential" });
 * if (sector.length !== 512) throw new Error("not a sector");
 * ```
 */
export function buildBootSector(options: GuestOptions = {}): Uint8Array<ArrayBuffer> {
  const { order = "random", access = "write", pause = 0, tick = 0, latency = false } = options;
  const pages = workingSetPages(options);
  const bytesPerPage = options.bytesPerPage ?? GUEST_PAGE_SIZE;
  if (!(bytesPerPage >= 4 && bytesPerPage <= GUEST_PAGE_SIZE) || bytesPerPage % 4 !== 0) {
    throw new RangeError(`Bytes per page must be a multiple of 4 up to 4096: ${bytesPerPage}`);
  }
  const { sector, labels } = bootableSector(GUEST_CODE, {
    mask: pages - 1,
    ...order === "random" ? { multiplier: MULTIPLIER, increment: INCREMENT } : {},
    base: WORKING_SET_ADDRESS,
    words: bytesPerPage / 4,
    pause,
    tick,
    reportWords: latency ? RECORD_WORDS : 1,
  });
  sector[labels.get("writes")!] = access === "write" ? 1 : 0;
  return sector;
}

/**
 * Gives the number of pages in the guest's working set.
 *
 * @param options What the guest does.
 * @returns Pages of 4096 bytes, a power of two.
 * @throws {RangeError} When the working set is not a power of two of MiB up to 1024.
 */
export function workingSetPages(options: GuestOptions): number {
  const mebibytes = options.workingSetMiB ?? 16;
  if (!(mebibytes >= 1 && mebibytes <= 1024) || !Number.isInteger(Math.log2(mebibytes))) {
    throw new RangeError(
      `Working set must be a power of two of MiB, from 1 to 1024: ${mebibytes}`,
    );
  }
  return mebibytes * 256;
}

/**
 * Gives the word that fills a page of the working set once the guest has written it.
 *
 * @param page Number of the page in the working set.
 * @param generation How often the guest has written the page: with `access: "read"` always 1.
 * @returns The u32 that the page holds, little-endian, in each of its words.
 */
export function pageValue(page: number, generation: number): number {
  return (Math.imul(page, PAGE_FACTOR) + generation) >>> 0;
}

/**
 * Reads what a line from the guest's serial port says.
 *
 * @param line One line, without its end.
 * @returns The round that ended, or undefined when the line says something else.
 */
export function parseRoundLine(line: string): RoundLine | undefined {
  const match = /^\.*round((?: [0-9A-F]{8})+)$/.exec(line);
  if (match === null) return undefined;
  const words = match[1]!.trim().split(" ").map((text) => Number.parseInt(text, 16));
  const round = words[RECORD.round]!;
  if (words.length < RECORD_WORDS) return { round };
  return {
    round,
    latency: {
      tsc: words[RECORD.tscHigh]! * 2 ** 32 + words[RECORD.tscLow]!,
      sum: words[RECORD.sumHigh]! * 2 ** 32 + words[RECORD.sumLow]!,
      histogram: words.slice(RECORD.histogram, RECORD.histogram + HISTOGRAM_BINS),
    },
  };
}
