import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { LAZY_TASK } from "../../client/lazy/lazy_task.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { serving } from "./serving.ts";
import { MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";
import { anotherFault } from "./another_fault.ts";

for (const version of ["1.1", "1.7", "1.12", "dev", "nydus"] as const) {
  testUnless(
    needsVmm,
    `Lazy serves every byte of a VMM that speaks as ${version}, its message byte by byte`,
    leavingNoDescriptors(async () => {
      using file = new MemoryFile(8 * MIB);
      const { lazy, events } = await serving(file, { fill: false });
      await using _lazy = lazy;
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS, version, piece: 1 });
      await vmm.check();
      const [handed] = events;
      assertEquals(handed, {
        event: "handed-over",
        pid: vmm.pid,
        uid: Deno.uid()!,
        regions: 2,
        bytes: 8 * MIB,
      });
      // Counted behind the placing that let the VMM go on.
      await until("the last page is counted", () => lazy.statistics()[0]!.urgent === 2048);
    }),
  );
}

testUnless(
  needsVmm,
  "Lazy fills what nobody asks for, and says so",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy, events } = await serving(file);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await until("all is filled", () => events.some(({ event }) => event === "filled"));
    assertEquals(lazy.statistics()[0]!.background, 2048);
    await vmm.check();
    assertEquals(lazy.statistics()[0]!.faults, 0);
  }),
);

testUnless(
  needsVmm,
  "Lazy takes a message of several hundred regions",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy, events } = await serving(file);
    await using _lazy = lazy;
    const regions = Array.from({ length: 512 }, (_, index) => ({
      length: 16384,
      offset: index * 16384,
    }));
    await using vmm = await Vmm.start(file.socket, { regions, piece: 1000 });
    await vmm.check();
    assertEquals(events[0]!.event === "handed-over" && events[0]!.regions, 512);
  }),
);

for (const fill of [false, true]) {
  testUnless(
    needsVmm,
    `Lazy leaves no byte wrong under threads at random and a balloon without an end, fill ${fill}`,
    leavingNoDescriptors(async () => {
      using file = new MemoryFile(8 * MIB);
      const { lazy } = await serving(file, { fill });
      await using _lazy = lazy;
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await vmm.order("run 17 4 1500 2");
      await vmm.ranRight();
      await vmm.check();
    }),
  );
}

testUnless(
  needsVmm,
  "Lazy serves several VMs at once on one socket, and one that dies changes nothing for the others",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy, events } = await serving(file);
    await using _lazy = lazy;
    await using dying = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await dying.order("run 1 4 1000000000 1");
    await using one = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await using other = await Vmm.start(file.socket, { regions: TWO_REGIONS, keep: false });
    await one.order("run 2 2 1000 1");
    await other.order("run 3 2 1000 1");
    await dying.kill();
    await until(
      "its death is noticed",
      () => events.some((each) => each.event === "ended" && each.pid === dying.pid),
    );
    for (const vmm of [one, other]) {
      assert((await vmm.says("ran")).startsWith("ran wrong=0 "));
      await vmm.check();
    }
    assertEquals(lazy.processes, 2);
  }),
);

testUnless(
  needsVmm,
  "Lazy notices the death of a VMM whose connection was closed at once",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy, events } = await serving(file, { fill: false });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS, keep: false });
    assertEquals(await vmm.touch(4096), "image");
    await vmm.kill();
    await until("its death is noticed", () => events.some(({ event }) => event === "ended"));
  }),
);

testUnless(
  needsVmm,
  "Lazy notices the death of a VMM whose child keeps connection and userfaultfd open",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy, events } = await serving(file, { fill: false });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.order("fork");
    const child = Number((await vmm.says("forked")).split(" ")[1]);
    try {
      assertEquals(await vmm.touch(4096), "image");
      await vmm.kill();
      await until("its death is noticed", () => events.some(({ event }) => event === "ended"));
    } finally {
      Deno.kill(child, "SIGKILL");
    }
  }),
);

testUnless(
  needsVmm,
  "Lazy goes on with another thread when one dies under load, and forgets neither faults nor removals",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    const { lazy } = await serving(file, { pool });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.order("run 23 4 1000000000 1");
    for (let times = 0; times < 5; times++) {
      await anotherFault(lazy);
      pool.kill(LAZY_TASK.thread);
    }
    await anotherFault(lazy);
    await vmm.order("stop");
    await vmm.ranRight();
    await vmm.check();
    assertEquals(lazy.processes, 1);
  }),
);

testUnless(
  needsVmm,
  "Lazy can be closed while it fills, and again",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(32 * MIB);
    const { lazy, events } = await serving(file);
    await using vmm = await Vmm.start(file.socket, { regions: [{ length: 32 * MIB, offset: 0 }] });
    await until("the fill has begun", () => (lazy.statistics()[0]?.background ?? 0) > 0);
    await lazy.close();
    await lazy.close();
    assertEquals(events.filter(({ event }) => event === "ended").length, 1);
    assertEquals(lazy.processes, 0);
    await vmm.kill();
  }),
);
