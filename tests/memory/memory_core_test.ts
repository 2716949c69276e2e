import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { StaleViewError } from "../../migration/address_space/guarded_flat_view.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegionError } from "../../migration/address_space/memory_region_error.ts";
import { maker, viewText, WritingListener } from "./memory_tree.ts";

function machine(debug = false) {
  const core = new MemoryCore({ debug });
  const make = maker(core);
  const root = make.container("root", 1000);
  const space = new AddressSpace(core, "space", root);
  const listener = new WritingListener();
  space.addListener(listener);
  core.resetStatistics();
  return { core, root, space, listener, ...make };
}

Deno.test("MemoryCore commits every change outside of a transaction at once", () => {
  const { core, root, space, io } = machine();
  const device = io("device", 10);
  root.add(device, 0);
  device.address = 20;
  device.enabled = false;
  device.enabled = true;
  root.remove(device);
  assertEquals([core.statistics.commits, core.statistics.rebuilds], [5, 5 - 2]);
  assertEquals([core.statistics.forced, space.lastView.ranges], [0, []]);
});

Deno.test("MemoryCore commits a transaction once, when the outermost ends", () => {
  const { core, root, space, listener, io } = machine();
  const returned = core.transaction(() => {
    root.add(io("a", 10), 0);
    core.transaction(() => {
      assertEquals(core.depth, 2);
      root.add(io("b", 10), 50);
    });
    assertEquals([core.depth, core.pending, listener.take()], [1, true, []]);
    assertEquals(space.lastView.ranges, []);
    return "done";
  });
  assertEquals([returned, core.depth, core.pending], ["done", 0, false]);
  assertEquals([core.statistics.commits, core.statistics.rebuilds], [1, 1]);
  assertEquals(listener.take(), ["begin", "add 0+10 a@0", "add 50+10 b@0", "commit"]);
});

Deno.test("MemoryCore commits nothing for an empty transaction", () => {
  const { core } = machine();
  core.transaction(() => core.transaction(() => {}));
  assertEquals([core.statistics.commits, core.depth], [0, 0]);
});

Deno.test("MemoryCore commits what was changed before a transaction threw, and throws on", () => {
  const { core, root, space, listener, io } = machine();
  const failure = new Error("Device is of no known version");
  const thrown = assertThrows(() =>
    core.transaction(() => {
      root.add(io("a", 10), 0);
      throw failure;
    })
  );
  assert(thrown === failure);
  assertEquals([core.depth, core.pending], [0, false]);
  assertEquals(viewText(space.lastView), ["0+10 a@0"]);
  assertEquals(listener.take(), ["begin", "add 0+10 a@0", "commit"]);
});

Deno.test("MemoryCore goes on with the outer transaction when an inner one threw", () => {
  const { core, root, listener, io } = machine();
  core.transaction(() => {
    assertThrows(() =>
      core.transaction(() => {
        root.add(io("a", 10), 0);
        throw new Error("Inner");
      })
    );
    assertEquals([core.depth, core.pending, listener.take()], [1, true, []]);
    root.add(io("b", 10), 50);
  });
  assertEquals(listener.take(), ["begin", "add 0+10 a@0", "add 50+10 b@0", "commit"]);
});

Deno.test("MemoryCore throws the errors of a transaction and of its commit together", () => {
  const { core, root, space, io } = machine();
  space.addListener({
    commit() {
      throw new Error("Listener");
    },
  });
  const error = assertThrows(() =>
    core.transaction(() => {
      root.add(io("a", 10), 0);
      throw new Error("Change");
    }), AggregateError);
  assertEquals(error.errors.map(({ message }) => message), ["Change", "Listener"]);
  assertEquals([core.depth, core.pending, space.lastView.ranges.length], [0, false, 1]);
});

Deno.test("MemoryCore refuses an asynchronous transaction, with the depth right", () => {
  const { core, root, space, io } = machine();
  const change = async () => {
    root.add(io("a", 10), 0);
    await Promise.resolve();
  };
  const error = assertThrows(() => core.transaction(change), MemoryRegionError);
  assertEquals(error.code, "ASYNCHRONOUS");
  assertEquals([core.depth, core.pending, space.lastView.ranges.length], [0, false, 1]);
});

Deno.test("AddressSpace.flatView commits what is pending inside of a transaction, as forced", () => {
  const { core, root, space, listener, io } = machine();
  core.transaction(() => {
    root.add(io("a", 10), 0);
    assertEquals(viewText(space.flatView()), ["0+10 a@0"]);
    assertEquals(listener.take(), ["begin", "add 0+10 a@0", "commit"]);
    space.flatView();
    assertEquals([core.statistics.commits, core.statistics.forced], [1, 1]);
    root.add(io("b", 10), 50);
  });
  assertEquals([core.statistics.commits, core.statistics.forced], [2, 1]);
});

Deno.test("AddressSpace.flatView forces no commit for changes that it cannot see", () => {
  const { core, root, io, container } = machine();
  const other = new AddressSpace(core, "other", container("elsewhere", 100));
  core.resetStatistics();
  core.transaction(() => {
    root.add(io("a", 10), 0);
    assertEquals(other.flatView().ranges, []);
    assertEquals(core.statistics.forced, 0);
  });
  assertEquals(core.statistics.commits, 1);
});

Deno.test("MemoryCore.commit inside of a transaction is a forced one, and none when nothing changed", () => {
  const { core, root, space, io } = machine();
  core.transaction(() => {
    core.commit();
    root.add(io("a", 10), 0);
    core.commit();
    core.commit();
    assertEquals(space.lastView.ranges.length, 1);
  });
  assertEquals([core.statistics.commits, core.statistics.forced], [1, 1]);
});

Deno.test("AddressSpace made in a transaction shows its regions after it, or when asked", () => {
  const { core, root, io } = machine();
  root.add(io("a", 10), 0);
  core.transaction(() => {
    const late = new AddressSpace(core, "late", root);
    assertEquals(late.lastView.ranges, []);
    assertEquals(viewText(late.flatView()), ["0+10 a@0"]);
  });
});

Deno.test("AddressSpace closed in a transaction is not rebuilt for what was pending", () => {
  const { core, root, space, listener, io } = machine();
  core.transaction(() => {
    root.add(io("a", 10), 0);
    space.close();
    assertEquals(core.pending, false);
  });
  assertEquals([core.statistics.commits, listener.take(), space.lastView.ranges], [0, [], []]);
});

Deno.test("MemoryCore counts the time of commits, with their listeners", () => {
  const { core, root, space, io } = machine();
  const end = () => performance.now() + 2;
  space.addListener({
    commit() {
      for (const until = end(); performance.now() < until;);
    },
  });
  root.add(io("a", 10), 0);
  assert(core.statistics.commitTime >= 2e6);
  core.resetStatistics();
  assertEquals(core.statistics, {
    commits: 0,
    forced: 0,
    rebuilds: 0,
    listenerCalls: 0,
    commitTime: 0,
  });
});

Deno.test("FlatView read while changes are pending throws in debug, and names the reader", () => {
  const { core, root, space, io } = machine(true);
  root.add(io("a", 10), 0);
  const held = space.flatView();
  core.transaction(() => {
    assertEquals(held.find(5)?.region.name, "a");
    root.add(io("b", 10), 50);
    const error = assertThrows(() => held.find(5, "ring cache of queue 3"), StaleViewError);
    assertEquals([error.reader, error.space], ["ring cache of queue 3", "space"]);
    assertStringIncludes(error.message, "ring cache of queue 3");
    assertThrows(() => held.translate(5, 1, "ring cache"), StaleViewError, "ring cache");
    assertThrows(() => space.lastView.find(5), StaleViewError);
    assertThrows(() => held.ranges, StaleViewError);
    assertThrows(() => held.events, StaleViewError);
    assertEquals(space.flatView().find(55)?.region.name, "b");
  });
  assertEquals(held.find(55), undefined);
});

Deno.test("StaleViewError names the line of source of a reader that gave no name", () => {
  const { core, root, space, io } = machine(true);
  core.transaction(() => {
    root.add(io("a", 10), 0);
    const view = space.lastView;
    function ringCache(read: () => unknown): void {
      read();
    }
    for (const read of [() => view.find(0), () => view.translate(0, 1), () => view.ranges]) {
      const { reader } = assertThrows(() => ringCache(read), StaleViewError);
      assertStringIncludes(reader, "memory_core_test.ts:");
    }
  });
});

Deno.test("FlatView of another address space is read in debug while changes elsewhere are pending", () => {
  const { core, root, container, io } = machine(true);
  const other = new AddressSpace(core, "other", container("elsewhere", 100));
  const view = other.flatView();
  core.transaction(() => {
    root.add(io("a", 10), 0);
    assertEquals(view.find(0), undefined);
  });
});

Deno.test("FlatView read while changes are pending shows the last commit without debug", () => {
  const { core, root, space, io } = machine();
  core.transaction(() => {
    root.add(io("a", 10), 0);
    assertEquals(space.lastView.find(5), undefined);
  });
});

Deno.test("AddressSpaces that share a view are told apart by the debug check", () => {
  const { core, root, io, container, alias } = machine(true);
  const master = container("master", 1000);
  const all = alias("all", root, 0, 1000);
  master.add(all, 0);
  const device = new AddressSpace(core, "device", master);
  root.add(io("a", 10), 0);
  core.transaction(() => {
    all.enabled = false;
    assertThrows(() => device.lastView.find(0), StaleViewError, "Flat view of device");
    all.enabled = true;
    root.remove(root.children[0]!);
  });
});
