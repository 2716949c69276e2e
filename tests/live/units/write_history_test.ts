import { assertEquals, assertLess } from "@std/assert";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../../migration/memory/ram_layout.ts";
import { WriteHistory } from "../../../server/live/write_history.ts";
import { SendPlan } from "../../../server/order/send_plan.ts";
import { Random } from "../../support/random.ts";

const layout = new RamLayout([{ name: "ram", usedLength: 256 * 4096 }]);

function bitmap(pages: Iterable<number>): PageBitmap {
  const bits = new PageBitmap(layout.pageLimit);
  for (const page of pages) bits.add(page);
  return bits;
}

/** Every page but these was sent. */
function sentBut(...pages: readonly number[]): PageBitmap {
  const bits = new PageBitmap(layout.pageLimit);
  bits.fill(0, layout.pageLimit);
  for (const page of pages) bits.take(page);
  return bits;
}

/** The plan after rounds in which these pages were written, of the pages that are left. */
function planned(rounds: readonly (readonly number[])[], left: Iterable<number>): number[] {
  const history = new WriteHistory(layout.pageLimit);
  for (const round of rounds) [...history.noting(bitmap(round), sentBut())];
  const plan = new SendPlan(layout);
  [...history.planning(layout, bitmap(left), plan)];
  return Array.from({ length: plan.count }, (_, place) => plan.at(place));
}

Deno.test("WriteHistory plans what was written most lately first, then what was written most often", () => {
  const rounds = [[1, 2, 3, 9], [2, 3, 4], [3, 4, 5], [6]];
  assertEquals(planned(rounds, [1, 2, 3, 4, 5, 6, 7, 8, 9]), [6, 3, 4, 5, 2, 1, 9]);
});

Deno.test("WriteHistory plans only what is to be sent, and nothing that was never written", () => {
  assertEquals(planned([[1, 2, 3]], [2, 200]), [2]);
  assertEquals(planned([], [1, 2, 3]), []);
});

Deno.test("WriteHistory forgets what was written long ago", () => {
  const quiet = Array.from({ length: 8 }, () => []);
  assertEquals(planned([[1], ...quiet], [1]), []);
  assertEquals(planned([[1], ...quiet.slice(1)], [1]), [1]);
});

Deno.test("WriteHistory does not take for written what was never sent", () => {
  const history = new WriteHistory(layout.pageLimit);
  [...history.noting(bitmap([1, 2, 3]), sentBut(2))];
  assertEquals([1, 2, 3].map((page) => history.heatOf(page)), [128, 0, 128]);
});

Deno.test("WriteHistory plans a huge page once, as hot as the hottest of it", () => {
  const huge = new RamLayout([{ name: "ram", usedLength: 4 << 21, pageSize: 1 << 21 }]);
  const history = new WriteHistory(huge.pageLimit);
  const all = new PageBitmap(huge.pageLimit);
  all.fill(0, huge.pageLimit);
  const written = (...pages: number[]) => {
    const bits = new PageBitmap(huge.pageLimit);
    for (const page of pages) bits.add(page);
    return bits;
  };
  [...history.noting(written(5, 1030), all)];
  [...history.noting(written(1500, 600), all)];
  const plan = new SendPlan(huge);
  [...history.planning(huge, all, plan)];
  assertEquals([plan.at(0), plan.at(1), plan.at(2), plan.count], [512, 1024, 0, 3]);
});

Deno.test("WriteHistory plans each page once while others take some", () => {
  const random = new Random(17);
  const history = new WriteHistory(layout.pageLimit);
  const pages = Array.from({ length: 200 }, (_, page) => page);
  for (let round = 0; round < 5; round++) {
    [...history.noting(bitmap(pages.filter(() => random.oneIn(2))), sentBut())];
  }
  const dirty = bitmap(pages);
  // As a thread that sends does between the two looks.
  const racing = new class extends PageBitmap {
    #looks = 0;
    override next(from: number, to?: number): number {
      if (++this.#looks % 3 === 0) this.take(random.below(200));
      return super.next(from, to);
    }
  }(layout.pageLimit, dirty.buffer);
  const plan = new SendPlan(layout);
  [...history.planning(layout, racing, plan)];
  const found = Array.from({ length: plan.count }, (_, place) => plan.at(place));
  assertEquals(new Set(found).size, found.length);
  for (let place = 1; place < found.length; place++) {
    const [one, other] = [found[place - 1]!, found[place]!];
    const [hot, less] = [history.heatOf(one), history.heatOf(other)];
    assertEquals(hot > less || (hot === less && one < other), true);
  }
  assertLess(0, found.length);
});
