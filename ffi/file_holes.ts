/** Where a file has no data: lseek(2) with SEEK_DATA and SEEK_HOLE. */

import { errno, libc } from "./libc.ts";

// From include/uapi/linux/fs.h and asm-generic/errno-base.h.
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;

/**
 * Returns the offset of the first byte of data at or behind an offset; `Infinity` when there is none.
 * A file that cannot tell (hugetlbfs) is all data. Moves the descriptor's file offset, which nobody
 * uses of a memfd.
 *
 * @param fd a file; -1 is all data
 * @param offset inside the file
 */
export function seekData(fd: number, offset: number): number {
  const found = libc().lseek(fd, BigInt(offset), SEEK_DATA);
  if (found >= 0n) return Number(found);
  return fd >= 0 && errno() === ENXIO ? Infinity : offset;
}

/**
 * Returns the offset of the first hole at or behind an offset; the end of the file counts as one.
 *
 * @param fd a file; -1 has none
 * @param offset inside the file
 */
export function seekHole(fd: number, offset: number): number {
  const found = libc().lseek(fd, BigInt(offset), SEEK_HOLE);
  return found >= 0n ? Number(found) : Infinity;
}
