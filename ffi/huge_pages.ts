/** The huge pages that this host has set aside (hugetlbfs). */

import { cString, libc } from "./libc.ts";
import { OpenFlag } from "./open_flags.ts";

/** Bytes of the huge page that every x86-64 has, and every aarch64 with base pages of 4 KiB. */
export const HUGE_PAGE: number = 2 ** 21;

/** Numbers of huge pages of one size. */
export interface HugePages {
  /** All there are. */
  readonly total: number;
  /** Those that no mapping has, nor has been promised; with what the kernel may make beside them. */
  readonly available: number;
}

/**
 * Counts this host's huge pages, from /sys/kernel/mm/hugepages (Linux
 * Documentation/admin-guide/mm/hugetlbpage.rst). Read by the C library: it needs no permission to read.
 *
 * @param pageSize bytes of a huge page
 * @returns undefined when the kernel has none of that size
 */
export function hugePages(pageSize: number): HugePages | undefined {
  const directory = `/sys/kernel/mm/hugepages/hugepages-${pageSize / 1024}kB`;
  const total = readNumber(`${directory}/nr_hugepages`);
  const free = readNumber(`${directory}/free_hugepages`);
  const promised = readNumber(`${directory}/resv_hugepages`);
  if (total === undefined || free === undefined || promised === undefined) return undefined;
  const most = readNumber(`${directory}/nr_overcommit_hugepages`) ?? 0;
  const made = readNumber(`${directory}/surplus_hugepages`) ?? 0;
  return { total, available: Math.max(0, free - promised) + Math.max(0, most - made) };
}

/**
 * Says why there are not enough huge pages, and what to do.
 *
 * @param length bytes wanted
 * @param pageSize bytes of a huge page
 */
export function hugePageRemedy(length: number, pageSize: number): string {
  const size = pageSize % 1_048_576 === 0
    ? `${pageSize / 1_048_576} MiB`
    : `${pageSize / 1024} KiB`;
  const pages = hugePages(pageSize);
  if (pages === undefined) return `this kernel has no huge pages of ${size}`;
  const { total, available } = pages;
  const wanted = Math.ceil(length / pageSize);
  const enough = total + Math.max(1, wanted - available);
  const setting = pageSize === HUGE_PAGE
    ? `sysctl vm.nr_hugepages=${enough}`
    : `write ${enough} to /sys/kernel/mm/hugepages/hugepages-${pageSize / 1024}kB/nr_hugepages`;
  return `${wanted} huge pages of ${size} are needed, ${available} of ${total} are free: ${setting}`;
}

function readNumber(path: string): number | undefined {
  const fd = libc().open(cString(path), OpenFlag.RDONLY | OpenFlag.CLOEXEC, 0);
  if (fd < 0) return undefined;
  const bytes = new Uint8Array(32);
  const count = libc().read(fd, bytes, bytes.length);
  libc().close(fd);
  return count <= 0 ? undefined : Number(new TextDecoder().decode(bytes.subarray(0, count)));
}
