/** What the threads share that decompress a migration's pages: the slots' memory, rings, counters. */

import {
  COMPRESSIBLE_PAGE_BYTES,
  type CompressionMethod,
  SLOT_BYTES,
} from "../../migration/compression.ts";
import type { WorkRingsShape } from "../../migration/threads/work_rings.ts";

/** Threads that decompress for a migration where nobody says otherwise, as QEMU's `decompress-threads`. */
export const DEFAULT_THREADS = 2;
/** The most of them, as there. */
const MOST_THREADS = 255;
/** Requests that wait or are worked on at one thread. */
const CAPACITY = 4;

/**
 * Slots behind those of the rings, for pages that the reading thread decompresses itself: so many may
 * wait to be placed together.
 */
export const OWN_SLOTS = 16;

/** Words of a slot. */
export const SlotWord = {
  /** Bytes of the compressed page, from the reading thread. */
  LENGTH: 0,
  /** What came of it, from the decompression thread: see {@linkcode Unpacked}. */
  OUTCOME: 1,
} as const;

/** Figures; the reading thread alone writes them. */
export const Figure = {
  /** Pages that came compressed. */
  PAGES: 0,
  /** Of these, pages that the reading thread decompressed itself. */
  BY_READER: 1,
  /** Their bytes as they came. */
  BYTES: 2,
} as const;

/** Number of {@linkcode Figure}s. */
export const FIGURES = 3;

/** What the reading thread needs to have pages decompressed; structured-cloned into it. */
export interface Decompression {
  /** Rings of decompression; with 0 the reading thread decompresses every page itself. */
  readonly threads: number;
  /** The reading thread's memory: what it receives into, and the slots behind that. */
  readonly memory: { readonly address: number; readonly length: number };
  /** Shared memory of the rings, of the shape {@linkcode decompressionShape}. */
  readonly rings: SharedArrayBuffer;
  /** Shared memory of the {@linkcode Figure}s, as float64. */
  readonly figures: SharedArrayBuffer;
}

/** What decompresses the pages of one ring; structured-cloned into its thread. */
export interface DecompressorInit {
  /** How the pages are compressed. */
  readonly method: CompressionMethod;
  /** Which of the rings, from 0. */
  readonly worker: number;
  /** How many there are. */
  readonly threads: number;
  /** See {@linkcode Decompression.rings}. */
  readonly rings: SharedArrayBuffer;
  /** Address of the first slot. */
  readonly slots: number;
}

/** The rings of so many threads. */
export function decompressionShape(threads: number): WorkRingsShape {
  return { workers: Math.max(threads, 1), capacity: CAPACITY, words: 2 };
}

/** Slots of one thread: results keep theirs until the reading thread has placed them. */
export const THREAD_SLOTS: number = 2 * CAPACITY;

/** Slots of all threads, and those of the reading thread behind them. */
export function slotCount(threads: number): number {
  return decompressionShape(threads).workers * THREAD_SLOTS + OWN_SLOTS;
}

/** Bytes from the first slot to a slot's page. */
export function pageAt(slot: number): number {
  return slot * SLOT_BYTES;
}

/** Bytes from the first slot to a slot's compressed page. */
export function packedAt(slot: number): number {
  return slot * SLOT_BYTES + COMPRESSIBLE_PAGE_BYTES;
}

/**
 * Checks a number of decompression threads.
 *
 * @throws {RangeError} when there cannot be so many
 */
export function checkDecompressThreads(threads: number): void {
  if (Number.isInteger(threads) && threads >= 0 && threads <= MOST_THREADS) return;
  throw new RangeError(
    `Decompression threads must be a whole number from 0 to ${MOST_THREADS}: ${threads}`,
  );
}
