/** What it takes to find the dirty pages of a memory. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { MappedMemory } from "../../ffi/memory.ts";
import { WrittenPages } from "../../ffi/pagemap.ts";
import {
  RegisterMode,
  UffdFeature,
  Userfaultfd,
  writeProtectRange,
} from "../../ffi/userfaultfd.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { DirtyTracker } from "../../server/live/dirty_tracker.ts";
import { PAGE_BYTES } from "./jobs.ts";

/** Which pages are dirty. */
export interface DirtyPattern {
  /** Of 100 pages. */
  readonly percent: number;
  /** Whether each dirty page stands alone, or all are at the beginning. */
  readonly scattered: boolean;
}

/** Nanoseconds by repetition, over the same dirty pages each. */
export interface ScanSamples {
  /** `PAGEMAP_SCAN` alone: pages taken and protected again, the regions not looked at. */
  readonly scan: readonly number[];
  /** {@linkcode DirtyTracker.collect}: the same, and the bits of the pages set. */
  readonly collect: readonly number[];
  /** `UFFDIO_WRITEPROTECT` of all of the memory: protecting again without knowing what was written. */
  readonly protect: readonly number[];
}

/** Writes to the dirty pages; returns how many they are. */
function dirtyPages(
  words: Int32Array,
  pages: number,
  { percent, scattered }: DirtyPattern,
): number {
  const count = Math.floor(pages * percent / 100);
  const step = scattered ? Math.floor(pages / Math.max(count, 1)) : 1;
  for (let index = 0; index < count; index++) words[index * step * (PAGE_BYTES / 4)]!++;
  return count;
}

/** The nanoseconds of a call. */
function timed(call: () => void): number {
  const start = monotonicNanoseconds();
  call();
  return monotonicNanoseconds() - start;
}

/** Times the ways to collect dirty pages, in turn. */
export function measureScans(
  memory: MappedMemory,
  pattern: DirtyPattern,
  repeat: number,
): ScanSamples {
  const { address, length } = memory;
  const pages = length / PAGE_BYTES;
  const words = new Int32Array(memory.bytes().buffer);
  const dirty = new PageBitmap(pages);
  const samples = { scan: [] as number[], collect: [] as number[], protect: [] as number[] };
  const block = { address, length, pageSize: PAGE_BYTES, firstPage: 0 };
  {
    using tracker = new DirtyTracker({ blocks: [block], targetPageSize: PAGE_BYTES });
    tracker.start();
    for (let run = -1; run < repeat; run++) {
      const count = dirtyPages(words, pages, pattern);
      dirty.clear(0, pages);
      let found = 0;
      const time = timed(() => found = tracker.collect(dirty));
      if (found !== count) throw new Error(`Found other than ${count} dirty pages: ${found}`);
      if (run >= 0) samples.collect.push(time);
    }
  }
  using uffd = new Userfaultfd({
    features: UffdFeature.WP_ASYNC | UffdFeature.WP_HUGETLBFS_SHMEM,
  });
  uffd.register(address, length, RegisterMode.WP);
  writeProtectRange(uffd.fd, address, length, true);
  using written = new WrittenPages();
  for (let run = -1; run < repeat; run++) {
    dirtyPages(words, pages, pattern);
    const scan = timed(() => {
      for (let at = address; at < address + length; at = written.scannedTo) {
        written.scan(at, address + length);
      }
    });
    dirtyPages(words, pages, pattern);
    const protect = timed(() => writeProtectRange(uffd.fd, address, length, true));
    if (run < 0) continue;
    samples.scan.push(scan);
    samples.protect.push(protect);
  }
  uffd.unregister(address, length);
  return samples;
}
