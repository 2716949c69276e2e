import { assert, assertEquals } from "@std/assert";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { HostPageClaims } from "../../server/sending/host_page_claims.ts";
import { Random } from "../support/random.ts";
import { HUGE } from "./huge_pages.ts";

const LAYOUT = new RamLayout([
  { name: "rom", usedLength: 33 * 4096 },
  { name: "ram", usedLength: 3 * HUGE, pageSize: HUGE },
  { name: "vga", usedLength: 64 * 4096 },
]);

function allDirty(): PageBitmap {
  const dirty = new PageBitmap(LAYOUT.pageLimit);
  for (const { firstPage, pageCount } of LAYOUT.blocks) dirty.fill(firstPage, pageCount);
  return dirty;
}

Deno.test("HostPageClaims claims a huge page whole from any page of it", () => {
  const dirty = allDirty();
  const claims = new HostPageClaims(LAYOUT, dirty);
  const first = LAYOUT.find("ram")!.firstPage + 512;
  assert(claims.claim(first + 77));
  assertEquals([claims.begun, claims.behind], [true, first + 512]);
  assertEquals(dirty.count(first, 512), 0);
  assertEquals(dirty.count(), LAYOUT.pageCount - 512);
  assertEquals(
    [first - 1, first, first + 511, first + 512].map((page) => claims.holds(page)),
    [false, true, true, false],
  );
  for (let page = first; page < first + 512; page++) assertEquals(claims.take(), page);
  assertEquals([claims.begun, claims.holds(first)], [false, false]);
  assert(!claims.claim(first + 3));
  assertEquals([claims.begun, claims.behind], [false, first + 512]);
});

Deno.test("HostPageClaims claims small pages one by one", () => {
  const dirty = allDirty();
  const claims = new HostPageClaims(LAYOUT, dirty);
  assert(claims.claim(32));
  assertEquals([claims.behind, claims.take(), claims.begun], [33, 32, false]);
  assertEquals(dirty.count(), LAYOUT.pageCount - 1);
  assert(!claims.claim(32));
});

Deno.test("HostPageClaims of several channels send each page once, host pages in one piece", () => {
  const random = new Random(5);
  for (let round = 0; round < 5; round++) {
    const dirty = allDirty();
    const channels = [0, 1, 2].map(() => new HostPageClaims(LAYOUT, dirty));
    const sent: number[][] = channels.map(() => []);
    let cursor = 0;
    while (dirty.next(0) >= 0 || channels.some((claims) => claims.begun)) {
      const index = random.below(3);
      const claims = channels[index]!;
      if (claims.begun) {
        for (let parts = random.between(1, 300); parts > 0 && claims.begun; parts--) {
          sent[index]!.push(claims.take());
        }
        continue;
      }
      // The first walks, the others are asked.
      const page = index === 0 ? dirty.next(cursor) : dirty.next(random.below(LAYOUT.pageLimit));
      if (page < 0) cursor = 0;
      else claims.claim(page);
      if (page >= 0 && index === 0) cursor = claims.behind;
    }
    assertEquals(new Set(sent.flat()).size, LAYOUT.pageCount);
    assertEquals(sent.flat().length, LAYOUT.pageCount);
    const { firstPage, pageCount } = LAYOUT.find("ram")!;
    for (const pages of sent) {
      pages.forEach((page, at) => {
        const inside = page >= firstPage && page < firstPage + pageCount;
        if (inside && (page - firstPage) % 512 !== 0) assertEquals(pages[at - 1], page - 1);
      });
    }
  }
});
