import { assert, assertEquals, assertThrows } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegionError } from "../../migration/address_space/memory_region_error.ts";
import { maker, viewText, WritingListener } from "./memory_tree.ts";

function machine() {
  const core = new MemoryCore();
  const make = maker(core);
  const root = make.container("root", 1000);
  const space = new AddressSpace(core, "space", root);
  return { core, root, space, ...make };
}

Deno.test("AddressSpace shows the region of the highest priority, the later one among equals", () => {
  const { root, space, ram, io } = machine();
  root.add(ram("ram", 100), 0);
  root.add(io("low", 30), 10, -1);
  root.add(io("first", 30), 20);
  root.add(io("second", 30), 40);
  root.add(io("high", 5), 45, 3);
  assertEquals(viewText(space.flatView()), [
    "0+20 ram@0",
    "20+20 first@0",
    "40+5 second@0",
    "45+5 high@0",
    "50+20 second@10",
    "70+30 ram@70",
  ]);
});

Deno.test("AddressSpace orders priorities within a container, not across containers", () => {
  const { root, space, container, io } = machine();
  const under = container("under", 100);
  under.add(io("urgent", 100), 0, 1000);
  root.add(under, 0);
  root.add(io("over", 50), 0, 1);
  assertEquals(viewText(space.flatView()), ["0+50 over@0", "50+50 urgent@50"]);
});

Deno.test("AddressSpace sees through the gaps of a container", () => {
  const { root, space, container, io } = machine();
  const holes = container("holes", 100);
  holes.add(io("a", 10), 0);
  holes.add(io("b", 10), 50);
  root.add(io("below", 100), 0);
  root.add(holes, 0, 1);
  assertEquals(viewText(space.flatView()), [
    "0+10 a@0",
    "10+40 below@10",
    "50+10 b@0",
    "60+40 below@60",
  ]);
});

Deno.test("AddressSpace merges what continues: one region through two windows", () => {
  const { root, space, ram, alias } = machine();
  const memory = ram("ram", 100);
  root.add(alias("low", memory, 0, 60), 0);
  root.add(alias("high", memory, 60, 40), 60);
  assertEquals(viewText(space.flatView()), ["0+100 ram@0"]);
});

Deno.test("AddressSpace does not merge ranges whose offsets do not continue, or with a gap", () => {
  const { root, space, ram, alias } = machine();
  const memory = ram("ram", 100);
  root.add(alias("a", memory, 0, 50), 0);
  root.add(alias("b", memory, 0, 50), 50);
  root.add(alias("c", memory, 50, 20), 100);
  root.add(alias("d", memory, 80, 20), 130);
  assertEquals(viewText(space.flatView()), [
    "0+50 ram@0",
    "50+70 ram@0",
    "130+20 ram@80",
  ]);
});

Deno.test("AddressSpace shows aliases of aliases, each cut off at its window", () => {
  const { root, space, container, io, alias } = machine();
  const bus = container("bus", 500);
  bus.add(io("device", 100), 200);
  const outer = alias("outer", alias("inner", bus, 150, 100), 20, 70);
  root.add(outer, 10);
  assertEquals(viewText(space.flatView()), ["40+40 device@0"]);
});

Deno.test("AddressSpace shows nothing of what is disabled, also through aliases", () => {
  const { root, space, container, io, alias } = machine();
  const bus = container("bus", 100);
  const device = io("device", 10);
  bus.add(device, 0);
  root.add(alias("window", bus, 0, 100), 0);
  assertEquals(space.flatView().ranges.length, 1);
  for (const region of [device, bus, root.children[0]!, root]) {
    region.enabled = false;
    assertEquals(space.flatView().ranges, [], region.name);
    region.enabled = true;
    assertEquals(viewText(space.flatView()), ["0+10 device@0"], region.name);
  }
});

Deno.test("FlatView finds the range of every address, and none in gaps and at the end", () => {
  const { root, space, io } = machine();
  for (let index = 0; index < 30; index++) root.add(io(`io${index}`, 5), 20 + index * 10);
  const view = space.flatView();
  for (let address = 0; address < 1000; address++) {
    const index = Math.floor((address - 20) / 10);
    const inside = index >= 0 && index < 30 && address % 10 < 5;
    assertEquals(view.find(address)?.region.name, inside ? `io${index}` : undefined);
  }
});

Deno.test("FlatView translates as many bytes as lie in one range", () => {
  const { root, space, ram, alias } = machine();
  const memory = ram("ram", 100);
  root.add(alias("window", memory, 40, 20), 500);
  const view = space.flatView();
  assertEquals(view.translate(505, 4), { region: memory, offset: 45, length: 4 });
  assertEquals(view.translate(505, 100), { region: memory, offset: 45, length: 15 });
  assertEquals(view.translate(520, 1), undefined);
});

Deno.test("AddressSpace rebuilds only where a change can be seen", () => {
  const core = new MemoryCore();
  const { container, io, alias } = maker(core);
  const bus = container("bus", 100);
  const device = io("device", 10);
  const through = container("through", 1000);
  through.add(alias("outer", alias("inner", bus, 0, 100), 0, 100), 5);
  through.add(io("own", 10), 500);
  const seeing = new AddressSpace(core, "seeing", through);
  const other = container("other", 1000);
  other.add(io("elsewhere", 10), 0);
  other.add(io("second", 10), 50);
  const blind = new AddressSpace(core, "blind", other);
  const before = blind.flatView();
  core.resetStatistics();
  bus.add(device, 20);
  device.address = 30;
  assertEquals([core.statistics.rebuilds, core.statistics.commits], [2, 2]);
  assertEquals(viewText(seeing.flatView())[0], "35+10 device@0");
  assert(blind.flatView() === before);
});

Deno.test("AddressSpace is not rebuilt for what is disabled, or out of its tree again", () => {
  const { core, root, container, io, alias } = machine();
  const bus = container("bus", 100);
  const window = alias("window", bus, 0, 100);
  root.add(window, 0);
  root.remove(window);
  core.resetStatistics();
  bus.add(io("first", 10), 0);
  assertEquals([core.statistics.commits, core.pending], [0, false]);
  root.add(window, 0);
  window.enabled = false;
  core.resetStatistics();
  bus.add(io("second", 10), 50);
  assertEquals([core.statistics.commits, core.pending], [0, false]);
});

Deno.test("MemoryRegion is not held by what it shows once it is taken out", () => {
  const { core, root, container, alias } = machine();
  const bus = container("bus", 100);
  const inner = alias("inner", bus, 0, 100);
  const outer = alias("outer", inner, 0, 100);
  const space = new AddressSpace(core, "window", outer);
  root.add(outer, 0);
  space.close();
  assertEquals([...core.changes.aliasesOf(bus)], [inner]);
  root.remove(outer);
  assertEquals(core.changes.aliasesOf(bus).size + core.changes.aliasesOf(inner).size, 0);
});

Deno.test("AddressSpaces that show the same memory have one view, built once", () => {
  const { core, root, space, container, io, alias } = machine();
  const masters = Array.from({ length: 10 }, (_, index) => {
    const master = container(`master${index}`, 1000);
    const all = alias("all", root, 0, 1000);
    all.enabled = false;
    master.add(all, 0);
    return { all, space: new AddressSpace(core, master.name, master) };
  });
  root.add(io("a", 10), 0);
  root.add(io("b", 10), 50);
  core.resetStatistics();
  for (const { all } of masters) all.enabled = true;
  assertEquals([core.statistics.rebuilds, core.statistics.commits], [0, 10]);
  root.add(io("c", 10), 100);
  assertEquals([core.statistics.rebuilds, core.statistics.commits], [1, 11]);
  for (const master of masters) assert(master.space.flatView() === space.flatView());
  masters[0]!.all.enabled = false;
  assertEquals(masters[0]!.space.flatView().ranges, []);
  assertEquals(space.flatView().ranges.length, 3);
});

Deno.test("AddressSpace over an alias is right after another one over it was closed", () => {
  const core = new MemoryCore();
  const { container, io, alias } = maker(core);
  const bus = container("bus", 100);
  const window = alias("window", bus, 10, 50);
  new AddressSpace(core, "first", window).close();
  bus.add(io("device", 10), 10);
  const space = new AddressSpace(core, "second", window);
  assertEquals(viewText(space.flatView()), ["0+10 device@0"]);
});

Deno.test("AddressSpace tells its listeners that everything is gone when it is closed", () => {
  const { core, root, space, io } = machine();
  root.add(io("device", 10), 0);
  const listener = new WritingListener();
  space.addListener(listener);
  listener.take();
  space.close();
  space.close();
  assertEquals(listener.take(), ["begin", "del 0+10 device@0", "commit"]);
  core.resetStatistics();
  root.add(io("later", 10), 50);
  assertEquals([listener.take(), core.pending, core.statistics.commits], [[], false, 0]);
  assertEquals(assertThrows(() => space.flatView(), MemoryRegionError).code, "CLOSED");
  assertEquals(assertThrows(() => space.addListener({}), MemoryRegionError).code, "CLOSED");
});

Deno.test("AddressSpace refuses a tree whose aliases multiply, stays as it was, and recovers", () => {
  const { core, root, space, container, io, alias } = machine();
  root.add(io("device", 10), 0);
  let level = container("level0", 2 ** 40);
  level.add(io("bottom", 1), 0);
  for (let depth = 1; depth < 12; depth++) {
    const next = container(`level${depth}`, 2 ** 40);
    for (let index = 0; index < 10; index++) next.add(alias("copy", level, 0, 2 ** 30), 0);
    level = next;
  }
  const bomb = alias("bomb", level, 0, 100);
  const error = assertThrows(() => root.add(bomb, 500), MemoryRegionError);
  assertEquals([error.code, error.regions[0]], ["TOO_MANY_REGIONS", "root"]);
  assertEquals(viewText(space.lastView), ["0+10 device@0"]);
  assertEquals(assertThrows(() => space.flatView(), MemoryRegionError).code, "TOO_MANY_REGIONS");
  root.remove(bomb);
  assertEquals([viewText(space.flatView()), core.pending], [["0+10 device@0"], false]);
});

Deno.test("AddressSpace shows a region under 100000 containers", () => {
  const { core, root, space, container, io, alias } = machine();
  let inner = container("inner", 100);
  const device = io("device", 10);
  inner.add(device, 1);
  core.transaction(() => {
    for (let depth = 0; depth < 100_000; depth++) {
      const outer = container("outer", 100);
      outer.add(depth % 2 === 0 ? inner : alias("window", inner, 0, 100), 0);
      inner = outer;
    }
    root.add(inner, 0);
  });
  device.address = 2;
  assertEquals(viewText(space.flatView()), ["2+10 device@0"]);
});
