/** What a workload's threads know of each page: whether it was touched, and how often it was written. */

import { viewMemory } from "../ffi/memory.ts";
import { PageBitmap } from "../migration/memory/page_bitmap.ts";

/** Counts of writes in the guest's own memory; may be posted to a worker. */
export interface CountRange {
  /** Address of the first count. */
  readonly address: number;
  /** Bytes of the block; what lies behind the last count is zero. */
  readonly length: number;
}

/**
 * Where the counts of writes lie, an int32 for each page: outside the memory that migrates, for a guest
 * that began to run here, or in it, so that they travel with the pages.
 */
export type WriteCounts = SharedArrayBuffer | CountRange;

/**
 * Returns the counts as numbers. Those in guest memory must stay mapped while they are used, and a
 * touch of them may wait for their page.
 */
export function viewCounts(counts: WriteCounts): Int32Array {
  if (counts instanceof SharedArrayBuffer) return new Int32Array(counts);
  return new Int32Array(viewMemory(counts.address, counts.length).buffer);
}

/** The memory of {@linkcode SharedPages}. */
export interface SharedPagesBuffers {
  /** Of a {@linkcode PageBitmap}. */
  readonly touched: SharedArrayBuffer;
  /** The counts of writes. */
  readonly writes: WriteCounts;
}

/** What is known of each page: whether it was touched, and how often it was written. */
export class SharedPages {
  /** The memory behind it, to give to another thread's constructor. */
  readonly buffers: SharedPagesBuffers;
  /** Pages that some thread touched. */
  readonly touched: PageBitmap;
  /** Writes to each page; only the thread that owns a page changes its count. */
  readonly writes: Int32Array;

  /**
   * @param pages how many pages there are
   * @param buffers another thread's, or where the counts are; what is left out is new memory
   */
  constructor(pages: number, buffers: Partial<SharedPagesBuffers> = {}) {
    const bits = Math.ceil(pages / 32) * 32;
    this.touched = new PageBitmap(bits, buffers.touched);
    const writes = buffers.writes ?? new SharedArrayBuffer(pages * 4);
    this.writes = viewCounts(writes);
    this.buffers = { touched: this.touched.buffer, writes };
  }
}
