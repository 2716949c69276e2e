import { assert, assertEquals, assertMatch } from "@std/assert";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import {
  decodeOrder,
  encodeOrder,
  MOST_ORDER_BYTES,
  type OwnedOrder,
  whyNotOf,
} from "../../image/order/order_codec.ts";
import { MOST_ORDERED } from "../../image/order/order_list.ts";
import { checksum } from "../../image/capture/index_file.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;

function layoutOf(...pages: readonly number[]): RamLayout {
  return new RamLayout(pages.map((count, i) => ({ name: `block ${i}`, usedLength: count * PAGE })));
}

function randomPages(random: Random, layout: RamLayout, most: number): OwnedOrder["list"] {
  const pages = new Set<number>();
  for (let count = 0; count < most; count++) {
    const { firstPage, pageCount } = random.pick(layout.blocks);
    const first = random.below(pageCount);
    const end = Math.min(pageCount, first + (random.oneIn(2) ? 1 : random.between(1, 40)));
    for (let page = first; page < end; page++) pages.add(firstPage + page);
  }
  const list = Int32Array.from([...pages].slice(0, MOST_ORDERED));
  return { pages: list, idle: Uint8Array.from(list, () => random.oneIn(3) ? random.below(15) : 0) };
}

const LAYOUT = layoutOf(5000, 1, 64, 33);
const ORDER: OwnedOrder = {
  stamp: "5098-0123456789abcdef",
  layout: LAYOUT,
  list: randomPages(new Random(4), LAYOUT, 300),
};

/** Bytes whose checksum is right, whatever else is not. */
function signed(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(12, checksum(copy.subarray(16)), true);
  return copy;
}

Deno.test("decodeOrder reads what encodeOrder wrote", () => {
  const random = new Random(11);
  for (let round = 0; round < 60; round++) {
    const counts = Array.from({ length: random.between(1, 6) }, () => random.between(1, 3000));
    const layout = layoutOf(...counts);
    const list = randomPages(random, layout, random.below(400));
    const read = decodeOrder(encodeOrder({ stamp: "a guest", layout, list }));
    assert(typeof read !== "string", `${read}`);
    assertEquals(read.list, list);
    assertEquals(whyNotOf({ stamp: "a guest", layout }, read), undefined);
  }
});

Deno.test("encodeOrder takes two bytes for a run of any length, and less than six for a page anywhere", () => {
  const layout = layoutOf(MOST_ORDERED * 8);
  const all = Int32Array.from({ length: MOST_ORDERED }, (_, page) => page);
  const idle = new Uint8Array(MOST_ORDERED);
  assert(encodeOrder({ stamp: "x", layout, list: { pages: all, idle } }).length < 100);
  const apart = all.map((page) => page * 5 % MOST_ORDERED * 8);
  const { length } = encodeOrder({ stamp: "x", layout, list: { pages: apart, idle } });
  assert(length < 6 * MOST_ORDERED && length < MOST_ORDER_BYTES, `${length}`);
});

Deno.test("decodeOrder finds every byte that is not as it was written", () => {
  const bytes = encodeOrder(ORDER);
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1 << at % 8;
    assertEquals(typeof decodeOrder(damaged), "string", `Byte ${at}`);
  }
  for (let length = 0; length < bytes.length; length++) {
    assertEquals(typeof decodeOrder(bytes.slice(0, length)), "string", `${length} bytes`);
  }
});

Deno.test("decodeOrder gives an order of pages that are there, or a reason, whatever somebody signed", () => {
  const random = new Random(12);
  const bytes = encodeOrder(ORDER);
  let read = 0;
  for (let round = 0; round < 5000; round++) {
    const changed = bytes.slice();
    for (let times = random.between(1, 4); times > 0; times--) {
      changed[random.between(16, bytes.length - 1)] = random.u32();
    }
    const order = decodeOrder(signed(changed));
    if (typeof order === "string") continue;
    read++;
    const { pages } = order.list;
    assertEquals(new Set(pages).size, pages.length);
    for (const page of pages) {
      const { firstPage, pageCount } = order.layout.blockOf(page);
      assert(page >= firstPage && page < firstPage + pageCount);
    }
  }
  assert(read > 0);
});

Deno.test("whyNotOf tells an order of other blocks, and of another save", () => {
  const owner = { stamp: ORDER.stamp, layout: LAYOUT };
  assertEquals(whyNotOf(owner, ORDER), undefined);
  const other = { ...ORDER, layout: layoutOf(5000, 1, 64, 34) };
  assertMatch(whyNotOf(owner, other)!, /other RAM blocks/);
  assertMatch(whyNotOf(owner, { ...ORDER, stamp: "another" })!, /another save/);
});
