import { assert, assertEquals } from "@std/assert";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../../migration/memory/ram_layout.ts";
import type { DiscardCommand } from "../../../migration/protocol/discard.ts";
import { discardStale, roundToHostPages } from "../../../server/live/dirty_runs.ts";
import { Random } from "../../support/random.ts";

const PAGE = 4096;
const HUGE = 2 << 20;

function randomLayout(random: Random): RamLayout {
  const sizes = Array.from({ length: random.between(1, 4) }, (_, index) => {
    const huge = random.oneIn(2);
    const pageSize = huge ? HUGE : PAGE;
    const hostPages = huge ? random.between(1, 4) : random.between(1, 300);
    return { name: `block ${index}`, usedLength: hostPages * pageSize, pageSize };
  });
  return new RamLayout(sizes, PAGE);
}

/** Sets pages of the blocks, some of them in runs; none in the gaps between blocks. */
function randomBitmap(random: Random, layout: RamLayout): PageBitmap {
  const bitmap = new PageBitmap(layout.pageLimit);
  for (const { firstPage, pageCount } of layout.blocks) {
    for (let times = random.below(8); times > 0; times--) {
      const first = random.below(pageCount);
      const count = random.oneIn(3) ? 1 : random.between(1, pageCount - first);
      bitmap.fill(firstPage + first, count);
    }
    for (let times = random.below(40); times > 0; times--) {
      bitmap.clear(firstPage + random.below(pageCount), 1);
    }
  }
  return bitmap;
}

function pagesOf(bitmap: PageBitmap): number[] {
  const pages: number[] = [];
  for (let page = bitmap.next(0); page >= 0; page = bitmap.next(page + 1)) pages.push(page);
  return pages;
}

/** The pages of the host page that a page is in. */
function hostPage(layout: RamLayout, page: number): number[] {
  const { firstPage, pagesPerHostPage } = layout.blockOf(page);
  const first = page - (page - firstPage) % pagesPerHostPage;
  return Array.from({ length: pagesPerHostPage }, (_, index) => first + index);
}

function rounded(layout: RamLayout, pages: readonly number[]): Set<number> {
  return new Set(pages.flatMap((page) => hostPage(layout, page)));
}

function sorted(pages: Iterable<number>): number[] {
  return [...pages].sort((a, b) => a - b);
}

/** The pages that commands name; every page once. */
function discarded(layout: RamLayout, commands: readonly DiscardCommand[]): number[] {
  const pages: number[] = [];
  for (const { block, ranges } of commands) {
    const { firstPage, pageSize, usedLength } = layout.find(block)!;
    assert(ranges.length >= 1 && ranges.length <= 12, `${ranges.length} ranges`);
    for (const { start, length } of ranges) {
      assertEquals([start % pageSize, length % pageSize], [0, 0]);
      assert(length > 0 && start + length <= usedLength, `${length} bytes at ${start}`);
      for (let at = start; at < start + length; at += PAGE) pages.push(firstPage + at / PAGE);
    }
  }
  assertEquals(new Set(pages).size, pages.length, "a page is discarded twice");
  return pages;
}

Deno.test("roundToHostPages makes exactly the host pages dirty of which a part is", () => {
  const random = new Random(3);
  for (let run = 0; run < 60; run++) {
    const layout = randomLayout(random);
    const dirty = randomBitmap(random, layout);
    const expected = sorted(rounded(layout, pagesOf(dirty)));
    roundToHostPages(layout, dirty);
    assertEquals(pagesOf(dirty), expected);
  }
});

Deno.test("roundToHostPages leaves a layout of ordinary pages as it is", () => {
  const layout = new RamLayout([{ name: "a", usedLength: 100 * PAGE }], PAGE);
  const dirty = randomBitmap(new Random(4), layout);
  const before = pagesOf(dirty);
  roundToHostPages(layout, dirty);
  assertEquals(pagesOf(dirty), before);
});

Deno.test("discardStale discards the host pages that are dirty and were sent, and no other", () => {
  const random = new Random(5);
  for (let run = 0; run < 60; run++) {
    const layout = randomLayout(random);
    const dirty = randomBitmap(random, layout);
    const sent = randomBitmap(random, layout);
    roundToHostPages(layout, dirty);
    const dirtyPages = pagesOf(dirty);
    const sentPages = pagesOf(sent);
    const touched = rounded(layout, sentPages);
    const stale = dirtyPages.filter((page) => touched.has(page));

    const commands = discardStale(layout, dirty, sent);

    assertEquals(discarded(layout, commands).sort((a, b) => a - b), stale);
    assertEquals(pagesOf(dirty), dirtyPages, "they are still to be sent");
    const forgotten = new Set(stale);
    assertEquals(pagesOf(sent), sentPages.filter((page) => !forgotten.has(page)));
  }
});

Deno.test("discardStale has nothing to say a second time", () => {
  const random = new Random(6);
  for (let run = 0; run < 20; run++) {
    const layout = randomLayout(random);
    const dirty = randomBitmap(random, layout);
    const sent = randomBitmap(random, layout);
    roundToHostPages(layout, dirty);
    discardStale(layout, dirty, sent);
    assertEquals(discardStale(layout, dirty, sent), []);
  }
});

Deno.test("discardStale joins neighbours into one range, up to a page that stays", () => {
  const layout = new RamLayout([{ name: "a", usedLength: 64 * PAGE }], PAGE);
  const dirty = new PageBitmap(layout.pageLimit);
  const sent = new PageBitmap(layout.pageLimit);
  dirty.fill(10, 20);
  sent.fill(0, 64);
  sent.clear(15, 1); // never came: not to be forgotten
  assertEquals(discardStale(layout, dirty, sent), [{
    kind: "discard",
    block: "a",
    ranges: [
      { start: 10 * PAGE, length: 5 * PAGE },
      { start: 16 * PAGE, length: 14 * PAGE },
    ],
  }]);
});

Deno.test("discardStale of what was never sent discards nothing", () => {
  const layout = new RamLayout([{ name: "a", usedLength: 64 * PAGE }], PAGE);
  const dirty = new PageBitmap(layout.pageLimit);
  dirty.fill(0, 64);
  assertEquals(discardStale(layout, dirty, new PageBitmap(layout.pageLimit)), []);
});
