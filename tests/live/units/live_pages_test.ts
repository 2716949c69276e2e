import "../../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { seekData, seekHole } from "../../../ffi/file_holes.ts";
import { viewMemory } from "../../../ffi/memory.ts";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { LiveLocator } from "../../../pages/live_pages.ts";
import { LiveRegion } from "../../../server/live/live_region.ts";
import { Random } from "../../support/random.ts";

const PAGE = 4096;

/** A region and its locator. */
function located(region: LiveRegion): { locator: LiveLocator; sent: PageBitmap } {
  const { layout, blocks } = region;
  const sent = new PageBitmap(layout.pageLimit);
  const locator = new LiveLocator({
    kind: "live",
    blocks: blocks.map((block, i) => ({ ...block, firstPage: layout.blocks[i]!.firstPage })),
    pageSize: PAGE,
    sent: sent.buffer,
    pageLimit: layout.pageLimit,
  });
  return { locator, sent };
}

/** The pages of a memfd that exist, by the kernel's own account. */
function existing(fd: number, length: number): number[] {
  const pages: number[] = [];
  for (let at = seekData(fd, 0); at < length;) {
    const end = Math.min(seekHole(fd, at), length);
    for (; at < end; at += PAGE) pages.push(at / PAGE);
    at = at < length ? seekData(fd, at) : length;
  }
  return pages;
}

function writeWord(address: number, value: number): void {
  viewMemory(address, 4)[0] = value;
}

Deno.test("LiveLocator takes pages that nobody touched for zero, and they still do not exist", () => {
  using region = new LiveRegion({
    blocks: [{ name: "a", length: 50 * PAGE }, { name: "b", length: 70 * PAGE }],
  });
  const [a, b] = region.blocks as [typeof region.blocks[0], typeof region.blocks[0]];
  const touched = [0, 1, 7, 8, 9, 30, 49];
  for (const page of touched) writeWord(a!.address + page * PAGE, 1);
  writeWord(b!.address + 69 * PAGE, 1);
  const { locator } = located(region);
  const found = (block: number) => {
    const { firstPage, pageCount } = region.layout.blocks[block]!;
    const { address } = region.blocks[block]!;
    const pages: number[] = [];
    for (let page = 0; page < pageCount; page++) {
      const at = locator.locate(firstPage + page);
      if (at === 0) continue;
      assertEquals(at, address + page * PAGE);
      pages.push(page);
    }
    return pages;
  };
  assertEquals(found(0), touched);
  assertEquals(found(1), [69]);
  assertEquals(existing(a!.fd, a!.length), touched);
  assertEquals(existing(b!.fd, b!.length), [69]);
});

Deno.test("LiveLocator finds data and zeros in any order of asking", () => {
  const random = new Random(9);
  for (let run = 0; run < 20; run++) {
    const pages = random.between(1, 200);
    using region = new LiveRegion({ blocks: [{ name: "a", length: pages * PAGE }] });
    const { address, fd, length } = region.blocks[0]!;
    const data = new Set<number>();
    const exist = new Set<number>();
    for (let times = random.below(60); times > 0; times--) {
      const page = random.below(pages);
      const value = random.oneIn(4) ? 0 : 1;
      writeWord(address + page * PAGE, value);
      exist.add(page);
      if (value === 0) data.delete(page);
      else data.add(page);
    }
    const { locator } = located(region);
    for (let times = 0; times < 300; times++) {
      const page = random.below(pages);
      assertEquals(locator.locate(page), data.has(page) ? address + page * PAGE : 0);
    }
    assertEquals(new Set(existing(fd, length)), exist);
  }
});

Deno.test("LiveLocator finds what was written into a hole after it was sent as zero", () => {
  using region = new LiveRegion({ blocks: [{ name: "a", length: 64 * PAGE }] });
  const { address } = region.blocks[0]!;
  const { locator, sent } = located(region);
  assertEquals(locator.locate(20), 0); // all 64 are one hole by now
  sent.add(20);
  writeWord(address + 20 * PAGE, 5);
  assertEquals(locator.locate(20), address + 20 * PAGE);
});

Deno.test("LiveLocator of another thread does not know another's holes", () => {
  using region = new LiveRegion({ blocks: [{ name: "a", length: 64 * PAGE }] });
  const { address } = region.blocks[0]!;
  const { locator } = located(region);
  assertEquals(locator.locate(20), 0);
  writeWord(address + 20 * PAGE, 5);
  // As the request server does for a page that was discarded: it never looked before.
  assertEquals(located(region).locator.locate(20), address + 20 * PAGE);
});

Deno.test("LiveLocator sees the last byte of a page", () => {
  using region = new LiveRegion({ blocks: [{ name: "a", length: 4 * PAGE }] });
  const { address } = region.blocks[0]!;
  viewMemory(address, 4 * PAGE)[2 * PAGE - 1] = 1;
  const { locator } = located(region);
  assertEquals([0, 1, 2, 3].map((page) => locator.locate(page)), [0, address + PAGE, 0, 0]);
});

Deno.test("LiveLocator finds a page behind 4 GiB of a block", () => {
  const length = 5 * 2 ** 30;
  using region = new LiveRegion({ blocks: [{ name: "a", length }] });
  const { address, fd } = region.blocks[0]!;
  writeWord(address + length - PAGE, 1);
  const { locator } = located(region);
  assertEquals(locator.locate(length / PAGE - 1), address + length - PAGE);
  assertEquals(locator.locate(length / PAGE - 2), 0);
  assertEquals(existing(fd, length), [length / PAGE - 1]);
});

Deno.test("seekData and seekHole say where a memfd has data", () => {
  using region = new LiveRegion({ blocks: [{ name: "a", length: 8 * PAGE }] });
  const { address, fd } = region.blocks[0]!;
  assertEquals(seekData(fd, 0), Infinity);
  assertEquals(seekHole(fd, 0), 0);
  writeWord(address + 3 * PAGE, 0); // a page of zeros exists, once it was written to
  assertEquals(seekData(fd, 0), 3 * PAGE);
  assertEquals(seekHole(fd, 3 * PAGE), 4 * PAGE);
  assertEquals(seekData(fd, 4 * PAGE), Infinity);
  assertEquals(seekHole(fd, 0), 0);
});

Deno.test("seekData and seekHole take what is no file for all data", () => {
  assertEquals(seekData(-1, 4096), 4096);
  assertEquals(seekHole(-1, 4096), Infinity);
  assert(seekData(-1, 0) === 0);
});
