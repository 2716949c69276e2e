import { assert, assertEquals } from "@std/assert";
import {
  makePageOrder,
  type PageOrder,
  RandomNumbers,
  threadPages,
} from "../../workload/page_order.ts";

function take(order: PageOrder, count: number): number[] {
  return Array.from({ length: count }, () => order.next());
}

Deno.test("threadPages gives each page to one thread", () => {
  for (const [pages, threads] of [[10, 3], [9, 3], [7, 1], [5, 5]] as const) {
    const all: number[] = [];
    for (let thread = 0; thread < threads; thread++) {
      const { first, stride, count } = threadPages(pages, thread, threads, true);
      for (let index = 0; index < count; index++) all.push(first + stride * index);
    }
    assertEquals(all.sort((a, b) => a - b), Array.from({ length: pages }, (_, page) => page));
  }
});

Deno.test('makePageOrder "once" yields each page of the set once, then ends', () => {
  const set = threadPages(1001, 1, 4, true);
  const order = makePageOrder("once", set, new RandomNumbers(1), 0);
  const pages = take(order, set.count);
  assertEquals(order.next(), -1);
  assertEquals(
    pages.toSorted((a, b) => a - b),
    Array.from({ length: set.count }, (_, index) => 1 + 4 * index),
  );
  assert(pages.some((page, index) => index > 0 && page < pages[index - 1]!));
});

Deno.test('makePageOrder "sequential" begins where it is told and goes round', () => {
  const order = makePageOrder("sequential", threadPages(4, 0, 1, false), new RandomNumbers(1), 0.5);
  assertEquals(take(order, 6), [2, 3, 0, 1, 2, 3]);
});

Deno.test('makePageOrder "random" stays in the set and reaches all of it', () => {
  const set = threadPages(100, 2, 3, true);
  const pages = new Set(take(makePageOrder("random", set, new RandomNumbers(1), 0), 2000));
  assertEquals(pages.size, set.count);
  assert([...pages].every((page) => page % 3 === 2 && page < 100));
});

Deno.test("RandomNumbers.below spreads evenly", () => {
  const random = new RandomNumbers(0);
  const counts = new Array<number>(10).fill(0);
  for (let draw = 0; draw < 100_000; draw++) counts[random.below(10)]!++;
  assert(counts.every((count) => Math.abs(count - 10_000) < 500), `${counts}`);
});
