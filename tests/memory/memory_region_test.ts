import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { checkNoCycle } from "../../migration/address_space/cycle.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { ADDRESS_LIMIT } from "../../migration/address_space/region_checks.ts";
import {
  MemoryRegionError,
  type MemoryRegionErrorCode,
} from "../../migration/address_space/memory_region_error.ts";
import { maker, viewText } from "./memory_tree.ts";

const core = new MemoryCore();
const { container, ram, io, alias } = maker(core);

function assertRefused(code: MemoryRegionErrorCode, names: string[], change: () => unknown): void {
  const error = assertThrows(change, MemoryRegionError);
  assertEquals(error.code, code);
  assertEquals(error.regions, names);
  for (const name of names) assertStringIncludes(error.message, name);
}

for (const size of [0, -4096, 0.5, NaN, Infinity, ADDRESS_LIMIT + 2]) {
  Deno.test(`MemoryRegion refuses a size of ${size}`, () => {
    assertRefused("BAD_NUMBER", ["odd"], () => container("odd", size));
    assertRefused("BAD_NUMBER", ["odd"], () => ram("odd", size));
    assertRefused("BAD_NUMBER", ["odd"], () => io("odd", size));
    const target = container("target", ADDRESS_LIMIT);
    assertRefused("BAD_NUMBER", ["odd"], () => alias("odd", target, 0, size));
  });
}

for (const offset of [-1, 0.5, NaN, Infinity, ADDRESS_LIMIT]) {
  Deno.test(`MemoryRegion refuses an offset of ${offset}`, () => {
    const parent = container("parent", ADDRESS_LIMIT);
    const child = io("child", 4096);
    assertRefused("BAD_NUMBER", ["child"], () => parent.add(child, offset));
    assertRefused("BAD_NUMBER", ["odd"], () => alias("odd", parent, offset, 1));
    const backing = { block: "pc.ram", offset };
    assertRefused("BAD_NUMBER", ["odd"], () => MemoryRegion.ram(core, "odd", 4096, backing));
    parent.add(child, 0);
    assertRefused("BAD_NUMBER", ["child"], () => child.address = offset);
    assertEquals(child.address, 0);
  });
}

Deno.test("MemoryRegion refuses a priority that is no whole number", () => {
  const parent = container("parent", 100);
  const child = io("child", 10);
  assertRefused("BAD_NUMBER", ["child"], () => parent.add(child, 0, 0.5));
  assertEquals(child.parent, undefined);
  parent.add(child, 0, -7);
  assertRefused("BAD_NUMBER", ["child"], () => child.priority = NaN);
  assertEquals(child.priority, -7);
});

Deno.test("MemoryRegion holds regions up to 2^53 and none beyond", () => {
  const all = container("all", ADDRESS_LIMIT);
  const last = io("last", 1);
  all.add(last, ADDRESS_LIMIT - 1);
  const space = new AddressSpace(core, "all", all);
  assertEquals(space.flatView().find(ADDRESS_LIMIT - 1)?.region, last);
  // The sum of the two is 2^53 + 1, which as a number is 2^53.
  assertRefused("PAST_END", ["two", "all"], () => all.add(io("two", 2), ADDRESS_LIMIT - 1));
  space.close();
});

Deno.test("MemoryRegion refuses a child past its end, also later when it moves", () => {
  const parent = container("parent", 100);
  const child = io("child", 10);
  assertRefused("PAST_END", ["child", "parent"], () => parent.add(child, 91));
  assertRefused("PAST_END", ["wide", "parent"], () => parent.add(io("wide", 101), 0));
  parent.add(child, 90);
  assertRefused("PAST_END", ["child", "parent"], () => child.address = 91);
  assertEquals(child.address, 90);
});

Deno.test("MemoryRegion refuses an alias past the end of its target", () => {
  const target = io("target", 100);
  assertRefused("PAST_END", ["window", "target"], () => alias("window", target, 91, 10));
  assertRefused("PAST_END", ["window", "target"], () => alias("window", target, 0, 101));
  assertEquals(alias("window", target, 90, 10).size, 10);
});

Deno.test("AddressSpace refuses a root past its end", () => {
  const root = container("root", 101);
  assertRefused("PAST_END", ["root", "space"], () => new AddressSpace(core, "space", root, 100));
  assertRefused("BAD_NUMBER", ["space"], () => new AddressSpace(core, "space", root, -1));
  const wide = new AddressSpace(core, "space", root, ADDRESS_LIMIT);
  assertEquals(wide.flatView().find(ADDRESS_LIMIT - 1), undefined);
  wide.close();
});

Deno.test("MemoryRegion refuses a region in a second place, and takes it after the first", () => {
  const first = container("first", 100);
  const second = container("second", 100);
  const child = io("child", 10);
  first.add(child, 0);
  assertRefused("PLACED_TWICE", ["child", "second", "first"], () => second.add(child, 0));
  assertRefused("PLACED_TWICE", ["child", "first", "first"], () => first.add(child, 50));
  first.remove(child);
  second.add(child, 50);
  assertEquals([first.children, second.children, child.address], [[], [child], 50]);
});

Deno.test("MemoryRegion refuses to remove, move or rank what is in no place", () => {
  const parent = container("parent", 100);
  const child = io("child", 10);
  assertRefused("NOT_PLACED", ["child", "parent"], () => parent.remove(child));
  assertRefused("NOT_PLACED", ["child"], () => child.address = 0);
  assertRefused("NOT_PLACED", ["child"], () => child.priority = 0);
});

Deno.test("MemoryRegion holds others only as a container", () => {
  const target = container("target", 100);
  for (const parent of [ram("parent", 100), io("parent", 100), alias("parent", target, 0, 100)]) {
    assertRefused("NOT_A_CONTAINER", ["child", "parent"], () => parent.add(io("child", 10), 0));
  }
});

Deno.test("MemoryRegion refuses regions of another machine", () => {
  const other = maker(new MemoryCore());
  const mine = container("mine", 100);
  const theirs = other.container("theirs", 100);
  assertRefused("OTHER_CORE", ["theirs", "mine"], () => mine.add(theirs, 0));
  assertRefused("OTHER_CORE", ["window", "theirs"], () => alias("window", theirs, 0, 100));
  assertRefused("OTHER_CORE", ["space", "theirs"], () => new AddressSpace(core, "space", theirs));
});

Deno.test("MemoryRegion refuses to contain itself", () => {
  const parent = container("parent", 100);
  assertRefused("CYCLE", ["parent", "parent"], () => parent.add(parent, 0));
  const child = container("child", 100);
  parent.add(child, 0);
  assertRefused("CYCLE", ["parent", "child"], () => child.add(parent, 0));
});

Deno.test("MemoryRegion refuses to contain an alias of itself", () => {
  const parent = container("parent", 100);
  const window = alias("window", parent, 0, 50);
  assertRefused("CYCLE", ["window", "parent"], () => parent.add(window, 0));
  const child = container("child", 100);
  parent.add(child, 0);
  assertRefused("CYCLE", ["window", "child"], () => child.add(window, 0));
});

Deno.test("MemoryRegion refuses a cycle through aliases of aliases that nobody used before", () => {
  const parent = container("parent", 100);
  const inner = alias("inner", parent, 0, 50);
  const outer = alias("outer", inner, 0, 25);
  assertRefused("CYCLE", ["outer", "parent"], () => parent.add(outer, 0));
  const box = container("box", 100);
  box.add(outer, 0);
  assertRefused("CYCLE", ["box", "parent"], () => parent.add(box, 0));
  const window = alias("window", box, 0, 50);
  assertRefused("CYCLE", ["window", "parent"], () => parent.add(window, 0));
});

Deno.test("MemoryRegion refuses a cycle that a later addition would close", () => {
  const left = container("left", 100);
  const right = container("right", 100);
  left.add(alias("to right", right, 0, 100), 0);
  assertRefused("CYCLE", ["to left", "right"], () => right.add(alias("to left", left, 0, 100), 0));
  const deep = container("deep", 100);
  right.add(deep, 0);
  assertRefused("CYCLE", ["left", "deep"], () => deep.add(left, 0));
  // The same without the alias is no cycle.
  left.remove(left.children[0]!);
  deep.add(left, 0);
  assertEquals(left.parent, deep);
});

Deno.test("checkNoCycle takes a few steps for a device in a large tree, and for an alias of it", () => {
  const system = container("system", 2 ** 40);
  core.transaction(() => {
    for (let index = 0; index < 1000; index++) {
      system.add(io("device", 4096), index * 4096);
      container("master", 2 ** 40).add(alias("all", system, 0, 2 ** 40), 0);
    }
  });
  const bar = container("bar", 4096);
  bar.add(io("registers", 4096), 0);
  assertEquals(checkNoCycle(system, bar), 3);
  assertEquals(checkNoCycle(container("master", 2 ** 40), alias("all", system, 0, 2 ** 40)), 2);
});

for (
  const [value, remedy] of [
    [{ offset: 0, size: 3 }, "3"],
    [{ offset: 0, size: 0 }, "0"],
    [{ offset: -4, size: 4 }, "-4"],
    [{ offset: 0.5, size: 4 }, "0.5"],
    [{ offset: 14, size: 4 }, "14"],
    [{ offset: 0, size: 2, value: 65536 }, "65536"],
    [{ offset: 0, size: 2, value: -1 }, "-1"],
  ] as const
) {
  Deno.test(`MemoryRegion refuses an I/O event of ${JSON.stringify(value)} in 16 bytes`, () => {
    const region = io("notify", 16);
    const error = assertThrows(() => region.addEvent({ ...value, key: {} }), MemoryRegionError);
    assertEquals([error.code, error.regions], ["BAD_EVENT", ["notify"]]);
    assertStringIncludes(error.message, remedy);
    assertEquals(region.events.length, 0);
  });
}

Deno.test("MemoryRegion refuses an I/O event twice, one that is not there, and one of RAM", () => {
  const region = io("notify", 16);
  const key = {};
  const event = { offset: 4, size: 4, value: 1, key };
  region.addEvent(event);
  assertRefused("BAD_EVENT", ["notify"], () => region.addEvent({ ...event }));
  assertRefused("BAD_EVENT", ["notify"], () => region.removeEvent({ ...event, value: 2 }));
  assertRefused("BAD_EVENT", ["notify"], () => region.removeEvent({ ...event, key: {} }));
  region.addEvent({ ...event, value: 2 });
  region.removeEvent({ ...event });
  assertEquals(region.events.map(({ value }) => value), [2]);
  assertRefused("BAD_EVENT", ["memory"], () => ram("memory", 16).addEvent(event));
});

Deno.test("MemoryRegion keeps the order of additions among equals when one moves", () => {
  const root = container("root", 100);
  const lower = io("lower", 20);
  const upper = io("upper", 20);
  root.add(lower, 0);
  root.add(upper, 10);
  const space = new AddressSpace(core, "space", root);
  lower.address = 5;
  assertEquals(viewText(space.flatView()), ["5+5 lower@0", "10+20 upper@0"]);
  lower.priority = 1;
  assertEquals(viewText(space.flatView()), ["5+20 lower@0", "25+5 upper@15"]);
  upper.priority = 1;
  assertEquals(viewText(space.flatView()), ["5+5 lower@0", "10+20 upper@0"]);
  space.close();
});
