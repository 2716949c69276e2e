/**
 * The boot sector of a guest that works as fast as it can and says every tenth of a second how much it
 * did. A unit of work is one access to a page of its working set: it checks that it is that page, writes
 * a word of it, and perhaps computes a little.
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
} from "../../qemu/bare_machine.ts";
import { HOT_RUN, WORKER_CODE } from "./worker_code.ts";

/** What the guest does. */
export interface WorkerOptions {
  /** Bytes of the working set, a multiple of 4096, 1 MiB to 2.5 GiB: what PC machines have below 4 GiB. */
  readonly workingSet: number;
  /** Any page, one page after the other, or mostly hot pages (see {@linkcode HOT_ACCESSES}). */
  readonly order: "random" | "sequential" | "hot";
  /** Empty loops after an access: what the guest computes. Default 0. */
  readonly pause?: number;
}

/** Share of accesses that go to the hot pages alone; the others go to any page. */
export const HOT_ACCESSES = 0.9;
/** Share of the pages that are hot: runs of them, spread evenly. */
export const HOT_PAGES = 0.1;

const LEAST_WORKING_SET = 2 ** 20;
const MOST_WORKING_SET = 2.5 * 2 ** 30;
const NUMBERS = 2 ** 32;

/** Gives the largest working set that a machine with so much memory has room for, bytes. */
export function workingSetOf(memory: number): number {
  const room = memory - WORKING_SET_ADDRESS - RESERVED_ABOVE;
  return Math.floor(room / GUEST_PAGE_SIZE) * GUEST_PAGE_SIZE;
}

/**
 * Builds the 512-byte boot sector.
 *
 * @throws {RangeError} when an option is out of range
 */
export function buildWorkerSector(options: WorkerOptions): Uint8Array<ArrayBuffer> {
  const { workingSet, order, pause = 0 } = options;
  const inRange = workingSet >= LEAST_WORKING_SET && workingSet <= MOST_WORKING_SET;
  if (!inRange || workingSet % GUEST_PAGE_SIZE !== 0) {
    throw new RangeError(
      `Working set must be pages of 4096 bytes, from 1 MiB to 2.5 GiB: ${workingSet}`,
    );
  }
  if (!(Number.isInteger(pause) && pause >= 0 && pause < NUMBERS)) {
    throw new RangeError(`Pause must be a whole number of loops: ${pause}`);
  }
  const pages = workingSet / GUEST_PAGE_SIZE;
  const share = order === "hot" ? HOT_ACCESSES : 0;
  const runs = Math.max(1, Math.round(pages * HOT_PAGES / HOT_RUN));
  return bootableSector(WORKER_CODE, {
    pages,
    multiplier: order === "sequential" ? 1 : MULTIPLIER,
    // Just more than a page a step: where 2^32 is no multiple of the pages, a walk now and then leaves
    // one out, another one each time.
    increment: order === "sequential" ? Math.ceil(NUMBERS / pages) : INCREMENT,
    threshold: Math.floor(share * NUMBERS),
    scale: Math.floor(pages / (1 - share)),
    hotScale: Math.floor(runs * HOT_RUN / HOT_ACCESSES),
    hotStep: Math.floor(pages / runs),
    pause,
  }).sector;
}

/**
 * Reads what a line from the guest's serial port says.
 *
 * @param line one line, without its end
 * @returns units of work since the line before; undefined when it says something else, or is cut
 */
export function parseWorkerLine(line: string): number | undefined {
  const match = /^w ([0-9A-F]{8})$/.exec(line);
  return match === null ? undefined : Number.parseInt(match[1]!, 16);
}
