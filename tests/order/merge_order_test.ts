import { assertEquals } from "@std/assert";
import { joinOrders, mergeOrder } from "../../image/order/merge_order.ts";
import { emptyOrder, IDLE_SINKS, MOST_IDLE, type OrderList } from "../../image/order/order_list.ts";

const LIMIT = 1024;
const everything = (): boolean => true;
const nothing = (): boolean => false;

function list(pages: readonly number[], idle: readonly number[] = []): OrderList {
  return {
    pages: Int32Array.from(pages),
    idle: Uint8Array.from(pages, (_, place) => idle[place] ?? 0),
  };
}

function merged(
  before: OrderList,
  asked: readonly number[],
  tells: (page: number) => boolean = everything,
  most?: number,
): { pages: number[]; idle: number[] } {
  const { pages, idle } = mergeOrder(before, { asked: Int32Array.from(asked), tells }, LIMIT, most);
  return { pages: [...pages], idle: [...idle] };
}

Deno.test("mergeOrder takes the first restore as it was, each page once", () => {
  assertEquals(merged(emptyOrder(), [9, 3, 9, 500, 3]).pages, [9, 3, 500]);
  assertEquals(merged(emptyOrder(), []).pages, []);
});

Deno.test("mergeOrder moves a page forward that was asked for although it is in the list", () => {
  const before = list([10, 11, 12, 13, 14, 15, 16, 17]);
  for (let place = 1; place < 8; place++) {
    const page = 10 + place;
    const after = merged(before, [page], nothing).pages;
    const now = after.indexOf(page);
    assertEquals(now < place, true, `Page of place ${place} went to ${now}`);
    assertEquals(
      after.filter((each) => each !== page),
      [...before.pages].filter((each) => each !== page),
    );
  }
});

Deno.test("mergeOrder puts new pages at their place in the restore, before what nobody asked for", () => {
  assertEquals(merged(list([1, 2, 3, 4]), [70, 71, 72], nothing).pages, [70, 1, 71, 2, 72, 3, 4]);
});

Deno.test("mergeOrder lets a page sink that several restores never asked for, and drops none that has room", () => {
  assertEquals(merged(list([1, 2, 3], [IDLE_SINKS - 2]), [], everything).pages, [1, 2, 3]);
  assertEquals(merged(list([1, 2, 3], [IDLE_SINKS - 1]), [], everything).pages, [2, 3, 1]);
  let now = list([1, 2, 3]);
  for (let time = 1; time <= MOST_IDLE + 5; time++) {
    const { pages, idle } = merged(now, [2, 3]);
    const place = pages.indexOf(1);
    assertEquals(idle[place], Math.min(time, MOST_IDLE));
    if (time >= IDLE_SINKS) assertEquals(place, pages.length - 1);
    now = list(pages, idle);
  }
  assertEquals(merged(now, [2, 3], everything, 2).pages.includes(1), false);
});

Deno.test("mergeOrder brings a sunk page back when it is asked for", () => {
  assertEquals(merged(list([1, 2, 3], [0, 0, IDLE_SINKS + 1]), [3], nothing), {
    pages: [3, 1, 2],
    idle: [0, 0, 0],
  });
});

Deno.test("mergeOrder holds nothing against a page of which nobody knows whether it was touched", () => {
  let now = list([1, 2, 3]);
  for (let time = 0; time < 50; time++) {
    const { pages, idle } = merged(now, [], nothing);
    now = list(pages, idle);
  }
  assertEquals([[...now.pages], [...now.idle]], [[1, 2, 3], [0, 0, 0]]);
});

Deno.test("mergeOrder keeps no more than it may, those in front", () => {
  const before = list(Array.from({ length: 10 }, (_, place) => place));
  assertEquals(merged(before, [500, 501], nothing, 5).pages, [500, 0, 501, 1, 2]);
});

Deno.test("mergeOrder never loses a page that was asked for, nor has one twice", () => {
  const before = list(Array.from({ length: 100 }, (_, place) => place * 7 % 101));
  const asked = Array.from({ length: 60 }, (_, turn) => turn * 13 % 211);
  const { pages } = merged(before, asked);
  assertEquals(new Set(pages).size, pages.length);
  assertEquals(new Set(pages), new Set([...before.pages, ...asked]));
});

Deno.test("joinOrders has each page at its best place, those of the last list first among equals", () => {
  const joined = joinOrders([list([1, 2, 3], [0, 5, 0]), list([4, 2, 1], [0, 1, 0])]);
  assertEquals([...joined.pages], [4, 1, 2, 3]);
  assertEquals([...joined.idle], [0, 0, 1, 0]);
});

Deno.test("joinOrders of one list is the list", () => {
  const only = list([5, 4, 9], [0, 0, 4]);
  assertEquals(joinOrders([only]), only);
});
