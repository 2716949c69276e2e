import { assertEquals } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { maker, WritingListener } from "./memory_tree.ts";

function machine() {
  const core = new MemoryCore();
  const make = maker(core);
  const root = make.container("root", 1000);
  const space = new AddressSpace(core, "space", root);
  return { core, root, space, ...make };
}

Deno.test("MemoryListener is told of I/O events in the same commit, and of their moves", () => {
  const { core, root, space, io } = machine();
  const device = io("device", 100);
  const listener = new WritingListener();
  space.addListener(listener);
  const key = {};
  core.transaction(() => {
    root.add(device, 0);
    device.addEvent({ offset: 8, size: 4, key });
    device.addEvent({ offset: 4, size: 4, key });
  });
  assertEquals(listener.take(), [
    "begin",
    "add 0+100 device@0",
    "eventAdd 4/4",
    "eventAdd 8/4",
    "commit",
  ]);
  device.address = 200;
  assertEquals(listener.take(), [
    "begin",
    "eventDel 4/4",
    "eventDel 8/4",
    "del 0+100 device@0",
    "add 200+100 device@0",
    "eventAdd 204/4",
    "eventAdd 208/4",
    "commit",
  ]);
});

Deno.test("MemoryListener is told of an I/O event without a flat view being rebuilt", () => {
  const { core, root, space, io } = machine();
  const device = io("device", 100);
  root.add(device, 0);
  const listener = new WritingListener();
  space.addListener(listener);
  listener.take();
  core.resetStatistics();
  const event = { offset: 8, size: 4, key: {} };
  device.addEvent(event);
  assertEquals(listener.take(), ["begin", "nop 0+100 device@0", "eventAdd 8/4", "commit"]);
  device.removeEvent(event);
  assertEquals(listener.take(), ["begin", "eventDel 8/4", "nop 0+100 device@0", "commit"]);
  assertEquals(core.statistics.rebuilds, 0);
});

Deno.test("MemoryListener is not told of an I/O event that is removed and added again", () => {
  const { core, root, space, io } = machine();
  const device = io("device", 100);
  const event = { offset: 8, size: 4, key: {} };
  root.add(device, 0);
  device.addEvent(event);
  device.addEvent({ ...event, key: {} });
  const listener = new WritingListener();
  space.addListener(listener);
  listener.take();
  core.transaction(() => {
    device.removeEvent(event);
    device.addEvent({ ...event });
  });
  assertEquals(listener.take(), []);
  core.transaction(() => {
    device.removeEvent(event);
    device.addEvent({ ...event, key: {} });
  });
  assertEquals(listener.take(), [
    "begin",
    "eventDel 8/4",
    "nop 0+100 device@0",
    "eventAdd 8/4",
    "commit",
  ]);
});

Deno.test("MemoryListener is told of an I/O event only where all of it is seen", () => {
  const { root, space, io, alias } = machine();
  const device = io("device", 100);
  device.addEvent({ offset: 8, size: 4, key: {} });
  root.add(device, 0);
  root.add(alias("again", device, 0, 12), 200);
  root.add(alias("cut", device, 0, 11), 300);
  root.add(alias("late", device, 9, 50), 400);
  assertEquals(space.flatView().events.map(({ address }) => address), [8, 208]);
  const lid = io("lid", 1);
  root.add(lid, 11, 1);
  assertEquals(space.flatView().events.map(({ address }) => address), [208]);
  lid.enabled = false;
  assertEquals(space.flatView().events.map(({ address }) => address), [8, 208]);
});
