/** Warming of memory: the first touch of a page that a hypervisor has not backed yet costs 10 us. */

import { MappedMemory } from "../../ffi/memory.ts";

const PIECE = 256 * 1024 * 1024;

/** How warm the memory was. */
export interface Warmth {
  /** Bytes touched. */
  readonly bytes: number;
  /** Mean cost of a 4 KiB page in the first pass, nanoseconds. */
  readonly firstPass: number;
  /** The same in the second pass, over the same memory. */
  readonly secondPass: number;
}

/**
 * Backs memory and gives it back, once.
 *
 * @returns mean cost of a 4 KiB page, nanoseconds
 */
export function warmPages(bytes: number): number {
  const pieces: MappedMemory[] = [];
  const start = performance.now();
  try {
    for (let done = 0; done < bytes; done += PIECE) {
      const piece = MappedMemory.anonymous(Math.min(PIECE, bytes - done));
      pieces.push(piece);
      piece.populate();
    }
    return (performance.now() - start) * 1e6 / (bytes / 4096);
  } finally {
    for (const piece of pieces) piece.close();
  }
}

/**
 * Backs as much memory as a benchmark will use and gives it back, twice: the kernel hands the pages
 * it got last out first, so what is measured next runs in memory that the host has backed.
 *
 * @param bytes all that the processes of the benchmark use together; at most three quarters of what
 * is available is touched
 */
export function warmMemory(bytes: number): Warmth {
  const available = Deno.systemMemoryInfo().available;
  const touched = Math.min(Math.ceil(bytes / 4096), Math.floor(available * 0.75 / 4096)) * 4096;
  const firstPass = warmPages(touched);
  const secondPass = warmPages(touched);
  return { bytes: touched, firstPass, secondPass };
}
