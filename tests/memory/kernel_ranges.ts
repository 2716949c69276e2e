/** What the kernel itself says of registered memory. */

import type { MappedMemory } from "../../ffi/memory.ts";

/** A run of pages of a mapping. */
export interface KernelRange {
  /** First page. */
  readonly page: number;
  readonly pages: number;
  /** Faults that are taken. */
  readonly faults: "missing" | "missing and minor";
}

/**
 * Reads /proc/self/smaps: the pages of a mapping that some userfaultfd has, adjacent ones together.
 * The flags are `um` and `ui`, from fs/proc/task_mmu.c of Linux.
 */
export function kernelRanges({ address, length }: MappedMemory): KernelRange[] {
  const ranges: KernelRange[] = [];
  let start = 0;
  let end = 0;
  for (const line of Deno.readTextFileSync("/proc/self/smaps").split("\n")) {
    const bounds = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (bounds !== null) {
      start = Math.max(parseInt(bounds[1]!, 16), address);
      end = Math.min(parseInt(bounds[2]!, 16), address + length);
    } else if (line.startsWith("VmFlags:") && start < end && / um\b/.test(line)) {
      const page = (start - address) / 4096;
      const pages = (end - start) / 4096;
      const faults = / ui\b/.test(line) ? "missing and minor" : "missing";
      const last = ranges.at(-1);
      if (last !== undefined && last.page + last.pages === page && last.faults === faults) {
        ranges[ranges.length - 1] = { ...last, pages: last.pages + pages };
      } else ranges.push({ page, pages, faults });
    }
  }
  return ranges;
}
