/** The regions of a machine whose memory was handed over. */

import { MigrationError } from "../../migration/migration_error.ts";

/** Bytes of the pages in which memory is removed and images are read, whatever a region's own pages. */
export const BASE_PAGE = 4096;
/** Bytes of the largest page that is served: huge pages of hugetlbfs. */
export const LARGEST_PAGE = 2 * 1024 * 1024;

/** A region of another process's memory. All in bytes. Plain data, for `postMessage`. */
export interface Region {
  /** First byte, in that process. */
  readonly address: number;
  /** How many. */
  readonly length: number;
  /** Where its first byte lies in the image's memory. */
  readonly offset: number;
  /** Its pages, 4 KiB or 2 MiB: what the kernel places as a whole. */
  readonly pageSize: number;
}

/** User space ends below. */
const ADDRESS_LIMIT = 2 ** 47;

/**
 * Sees that regions can be served, and sorts them by their addresses.
 *
 * @param regions as the other process told them
 * @param memoryLength bytes of the memory that the image holds
 * @throws {MigrationError} `BAD_PEER` with what cannot be
 */
export function checkedRegions(regions: readonly Region[], memoryLength: number): Region[] {
  if (regions.length === 0) throw refused("No region", "it names none");
  for (const region of regions) checkRegion(region, memoryLength);
  const sorted = [...regions].sort((one, other) => one.address - other.address);
  sorted.forEach((region, index) => {
    const before = sorted[index - 1];
    if (before === undefined || before.address + before.length <= region.address) return;
    throw refused("Regions overlap", `${textOf(before)} and ${textOf(region)}`);
  });
  return sorted;
}

function checkRegion(region: Region, memoryLength: number): void {
  const { address, length, offset, pageSize } = region;
  if (pageSize !== BASE_PAGE && pageSize !== LARGEST_PAGE) {
    throw refused("Page size that is neither 4096 nor 2097152", `${pageSize}`);
  }
  for (const [name, value] of Object.entries({ address, length })) {
    if (value % pageSize !== 0) {
      throw refused(`Region off the grid of its pages, ${name}`, `${value}`);
    }
  }
  if (offset % BASE_PAGE !== 0) {
    throw refused("Region off the grid of its pages, offset", `${offset}`);
  }
  if (length === 0) throw refused("Region without memory", textOf(region));
  if (address + length > ADDRESS_LIMIT) throw refused("Region beyond user space", textOf(region));
  if (offset + length > memoryLength) {
    throw new MigrationError(
      "BAD_PEER",
      `Region behind the end of the image, which holds ${memoryLength} bytes: ${textOf(region)}: ` +
        "give the memory file of the snapshot that is loaded",
    );
  }
}

function refused(what: string, value: string): MigrationError {
  return new MigrationError(
    "BAD_PEER",
    `${what}: ${value}: see that the VMM's version is one that is served`,
  );
}

function textOf({ address, length, offset }: Region): string {
  return `${length} bytes at 0x${address.toString(16)}, of offset ${offset}`;
}
