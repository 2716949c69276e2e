/** Which pages of this process are in memory: /proc/self/pagemap. */

import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { viewMemory } from "../../ffi/memory.ts";

const PAGE = 4096;
/** Bytes of a page's entry, and its bits that say "present" and "swapped" (Documentation/admin-guide/mm/pagemap.rst). */
const ENTRY_BYTES = 8;
const HERE = 0xc0;

/** Counts the pages that are mapped, without touching one. Those of a zero page count too. */
export function mappedPages({ address, length }: GuestBlock): number {
  const entries = new Uint8Array(length / PAGE * ENTRY_BYTES);
  using file = Deno.openSync("/proc/self/pagemap");
  file.seekSync(address / PAGE * ENTRY_BYTES, Deno.SeekMode.Start);
  for (let at = 0; at < entries.length;) {
    const count = file.readSync(entries.subarray(at));
    if (count === null) throw new Error("Pagemap ends before the memory");
    at += count;
  }
  let here = 0;
  for (let at = ENTRY_BYTES - 1; at < entries.length; at += ENTRY_BYTES) {
    if ((entries[at]! & HERE) !== 0) here++;
  }
  return here;
}

/** Pages that a block's memory has, mapped or not: those of a memfd lie in the page cache. */
export function residentPages(block: GuestBlock): number {
  if (block.fd < 0) return mappedPages(block);
  return Deno.statSync(`/proc/self/fd/${block.fd}`).blocks! * 512 / PAGE;
}

/** Reads a block whole; returns the first page that differs, or -1. */
export function firstDifference({ address, length }: GuestBlock, expected: Uint8Array): number {
  const found = new BigUint64Array(viewMemory(address, length).buffer);
  const wanted = new BigUint64Array(expected.buffer, expected.byteOffset, expected.length / 8);
  for (let word = 0; word < found.length; word++) {
    if (found[word] !== wanted[word]) return Math.floor(word * 8 / PAGE);
  }
  return -1;
}
