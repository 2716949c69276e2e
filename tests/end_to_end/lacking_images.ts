/** Images that lack pages, and what a destination must have of them. */

import { assertEquals } from "@std/assert";
import type { Destination } from "../../client/destination.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { makeCapture, PAGE, part, testPage } from "../image/captures.ts";
import { makeMappedRam } from "../image/mapped_ram_files.ts";
import { firstDifference, residentPages } from "../support/resident_pages.ts";

/** Pages of the block `ram`, of which each third is held. */
export const RAM_PAGES = 6000;
/** Pages of the block `vmem`, of which none is: as memory that was never plugged. */
export const HOLE_PAGES = 16_384;
/** Pages that the image holds, and others. */
export const HELD = RAM_PAGES / 3;
/** Pages that it does not hold. */
export const ABSENT = RAM_PAGES - HELD + HOLE_PAGES;

/** The kinds of image that can tell. */
export const LACKING = ["capture", "mapped-ram"] as const;

/** Whether the block `ram` holds a page. */
export function isHeld(page: number): boolean {
  return page % 3 === 0;
}

/** Writes such an image; returns the content of its blocks. */
export async function writeLacking(
  kind: typeof LACKING[number],
  path: string,
): Promise<readonly Uint8Array[]> {
  const ram = new Uint8Array(RAM_PAGES * PAGE);
  const stored = new Map<number, Uint8Array>();
  for (let page = 0; page < RAM_PAGES; page++) if (isHeld(page)) stored.set(page, testPage(page));
  for (const [page, bytes] of stored) ram.set(bytes, page * PAGE);
  const sizes = [
    { name: "ram", usedLength: ram.length },
    { name: "vmem", usedLength: HOLE_PAGES * PAGE },
  ];
  const bytes = kind === "mapped-ram"
    ? makeMappedRam({
      blocks: [{ name: "ram", pages: RAM_PAGES, stored }, { name: "vmem", pages: HOLE_PAGES }],
    }).bytes
    : makeCapture({ blocks: sizes }, (encoder) =>
      part(encoder, () => {
        encoder.block("ram");
        for (const [page, bytes] of stored) encoder.page(page * PAGE, bytes, 0);
      }));
  await Deno.writeFile(path, bytes);
  return [ram, new Uint8Array(HOLE_PAGES * PAGE)];
}

/**
 * Sees that a destination has every byte, and no page that the image lacks but those that were touched.
 *
 * @param touched pages of `ram` and of `vmem` that somebody touched
 */
export function assertLacking(
  destination: Destination,
  blocks: readonly GuestBlock[],
  content: readonly Uint8Array[],
  touched: readonly [number, number] = [0, 0],
): void {
  const { status, received, absent, pages, duplicates } = destination.statistics();
  assertEquals([status, received, absent, duplicates], ["completed", HELD, ABSENT, 0]);
  assertEquals(received + absent, pages);
  assertEquals(blocks.map(residentPages), [HELD + touched[0], touched[1]]);
  for (const [index, block] of blocks.entries()) {
    assertEquals(firstDifference(block, content[index]!), -1, block.name);
  }
}
