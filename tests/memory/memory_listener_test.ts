import { assert, assertEquals, assertThrows } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";
import { MemoryRegionError } from "../../migration/address_space/memory_region_error.ts";
import { maker, viewText, WritingListener } from "./memory_tree.ts";

function machine() {
  const core = new MemoryCore();
  const make = maker(core);
  const root = make.container("root", 1000);
  const space = new AddressSpace(core, "space", root);
  return { core, root, space, ...make };
}

Deno.test("MemoryListener added later is told all of the present view", () => {
  const { root, space, ram, io } = machine();
  root.add(ram("ram", 100), 0);
  const device = io("device", 10);
  device.addEvent({ offset: 4, size: 2, value: 7, key: {} });
  root.add(device, 50, 1);
  const listener = new WritingListener();
  space.addListener(listener);
  assertEquals(listener.take(), [
    "begin",
    "add 0+50 ram@0",
    "add 50+10 device@0",
    "add 60+40 ram@60",
    "eventAdd 54/2=7",
    "commit",
  ]);
});

Deno.test("MemoryListener added to an empty address space is told nothing", () => {
  const { space } = machine();
  const listener = new WritingListener();
  space.addListener(listener);
  assertEquals(listener.take(), []);
});

Deno.test("MemoryListener is told the difference alone, deletions first", () => {
  const { root, space, ram, io } = machine();
  root.add(ram("ram", 100), 0);
  root.add(ram("rest", 100), 200);
  const listener = new WritingListener();
  space.addListener(listener);
  listener.take();
  const device = io("device", 10);
  root.add(device, 90, 1);
  assertEquals(listener.take(), [
    "begin",
    "del 0+100 ram@0",
    "add 0+90 ram@0",
    "add 90+10 device@0",
    "nop 200+100 rest@0",
    "commit",
  ]);
  device.address = 10;
  assertEquals(listener.take(), [
    "begin",
    "del 0+90 ram@0",
    "del 90+10 device@0",
    "add 0+10 ram@0",
    "add 10+10 device@0",
    "add 20+80 ram@20",
    "nop 200+100 rest@0",
    "commit",
  ]);
});

Deno.test("MemoryListener is not called for a change that alters no view", () => {
  const { core, root, space, ram, io } = machine();
  root.add(ram("ram", 100), 0);
  const listener = new WritingListener();
  space.addListener(listener);
  listener.take();
  core.resetStatistics();
  const hidden = io("hidden", 10);
  root.add(hidden, 0, -1);
  hidden.addEvent({ offset: 0, size: 4, key: {} });
  hidden.address = 5;
  hidden.priority = -2;
  core.transaction(() => {
    hidden.priority = 1;
    root.remove(hidden);
  });
  assertEquals([listener.take(), core.statistics.listenerCalls], [[], 0]);
  assertEquals(core.statistics.commits, 5);
});

Deno.test("MemoryListener needs none of the functions, and calls are counted where they are", () => {
  const { core, root, space, io } = machine();
  space.addListener({});
  space.addListener({ begin: () => {}, commit: () => {} });
  core.resetStatistics();
  root.add(io("device", 10), 0);
  root.add(io("other", 10), 50);
  assertEquals(core.statistics.listenerCalls, 4);
});

Deno.test("MemoryListener taken off is told that everything is gone, once", () => {
  const { root, space, io } = machine();
  root.add(io("device", 10), 0);
  const listener = new WritingListener();
  const remove = space.addListener(listener);
  listener.take();
  remove();
  remove();
  assertEquals(listener.take(), ["begin", "del 0+10 device@0", "commit"]);
  root.add(io("other", 10), 50);
  assertEquals(listener.take(), []);
});

Deno.test("MemoryListener that throws is given the rest, others too, and the error is thrown on", () => {
  const { core, root, space, io } = machine();
  const first = new WritingListener();
  const failing = new WritingListener();
  const last = new WritingListener();
  const failure = new Error("No slot left");
  const { regionAdd } = failing;
  failing.regionAdd = (range) => {
    regionAdd.call(failing, range);
    if (range.start === 0) throw failure;
  };
  for (const listener of [first, failing, last]) space.addListener(listener);
  const thrown = assertThrows(() =>
    core.transaction(() => {
      root.add(io("a", 10), 0);
      root.add(io("b", 10), 50);
    })
  );
  assert(thrown === failure);
  const calls = ["begin", "add 0+10 a@0", "add 50+10 b@0", "commit"];
  assertEquals([first.take(), failing.take(), last.take()], [calls, calls, calls]);
  assertEquals([core.depth, core.pending, space.lastView.ranges.length], [0, false, 2]);
  root.add(io("c", 10), 100);
  assertEquals(last.take().length, 5);
});

Deno.test("MemoryListener errors of one commit are thrown together", () => {
  const { root, space, io } = machine();
  for (const text of ["first", "second"]) {
    space.addListener({
      commit() {
        throw new Error(text);
      },
    });
  }
  const error = assertThrows(() => root.add(io("a", 10), 0), AggregateError);
  assertEquals(error.errors.map(({ message }) => message), ["first", "second"]);
});

Deno.test("MemoryListener that throws when added is taken off again", () => {
  const { root, space, io } = machine();
  root.add(io("a", 10), 0);
  root.add(io("b", 10), 50);
  const listener = new WritingListener();
  const { regionAdd } = listener;
  listener.regionAdd = (range) => {
    if (range.start === 50) throw new Error("No slot left");
    regionAdd.call(listener, range);
  };
  assertThrows(() => space.addListener(listener), Error, "No slot left");
  assertEquals(listener.take().slice(-4), ["begin", "del 0+10 a@0", "del 50+10 b@0", "commit"]);
  root.remove(root.children[0]!);
  assertEquals(listener.take(), []);
});

Deno.test("MemoryListener may change regions: each listener is told in order and without gaps", () => {
  const { core, root, space, io } = machine();
  const late = io("late", 10);
  const before = new WritingListener();
  const after = new WritingListener();
  const changing = new WritingListener();
  changing.regionAdd = () => {
    if (late.parent === undefined) root.add(late, 100);
    // The change is seen at once, in the middle of the commit.
    assertEquals(space.flatView().find(100)?.region, late);
  };
  for (const listener of [before, changing, after]) space.addListener(listener);
  root.add(io("a", 10), 0);
  assertEquals(before.take(), [
    "begin",
    "add 0+10 a@0",
    "commit",
    "begin",
    "nop 0+10 a@0",
    "add 100+10 late@0",
    "commit",
  ]);
  // This one had been told nothing when the second change came: it learns both in one step.
  assertEquals(after.take(), ["begin", "add 0+10 a@0", "add 100+10 late@0", "commit"]);
  assertEquals([core.statistics.forced, core.pending], [0, false]);
});

Deno.test("MemoryListener may change regions in a commit forced by a reader", () => {
  const { core, root, space, io } = machine();
  const late = io("late", 10);
  space.addListener({
    commit() {
      if (late.parent === undefined) root.add(late, 100);
    },
  });
  core.transaction(() => {
    root.add(io("a", 10), 0);
    assertEquals(viewText(space.flatView()), ["0+10 a@0", "100+10 late@0"]);
  });
  assertEquals([core.statistics.forced, core.pending], [2, false]);
});

Deno.test("MemoryListener may take itself off in a call, and is then told that everything is gone", () => {
  const { root, space, io } = machine();
  const listener = new WritingListener();
  let remove = () => {};
  const { regionAdd } = listener;
  listener.regionAdd = (range) => {
    regionAdd.call(listener, range);
    remove();
  };
  remove = space.addListener(listener);
  root.add(io("a", 10), 0);
  assertEquals(listener.take(), [
    "begin",
    "add 0+10 a@0",
    "commit",
    "begin",
    "del 0+10 a@0",
    "commit",
  ]);
  root.add(io("b", 10), 50);
  assertEquals(listener.take(), []);
});

for (const inTransaction of [false, true]) {
  Deno.test(
    `MemoryListener that never comes to rest is stopped ${
      inTransaction ? "in a forced commit" : "in a commit"
    }`,
    () => {
      const { core, root, space, io } = machine();
      const device = io("device", 10);
      const listener: MemoryListener = { commit: () => device.address = device.address ^ 1 };
      const remove = space.addListener(listener);
      const error = assertThrows(() => {
        if (!inTransaction) root.add(device, 0);
        else {
          core.transaction(() => {
            root.add(device, 0);
            try {
              space.flatView();
            } finally {
              listener.commit = () => {};
            }
          });
        }
      }, MemoryRegionError);
      assertEquals([error.code, error.regions], ["LISTENER_LOOP", ["space"]]);
      assertEquals([core.depth, core.pending], [0, false]);
      listener.commit = () => {};
      remove();
      device.address = 70;
      assertEquals(viewText(space.flatView()), ["70+10 device@0"]);
    },
  );
}
