import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { LAZY_TASK } from "../../client/lazy/lazy_task.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { certificates, preSharedKey } from "../tls/credentials.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { endOf, lazyFrom, ONLY_ASKED, serve } from "./remote_image.ts";
import { MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";
import { anotherFault } from "./another_fault.ts";

testUnless(
  needsVmm,
  "Lazy fills a VM from a page server, and needs that no more",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file);
    const { lazy, events } = await lazyFrom(file, served.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await until("all is filled", () => events.some(({ event }) => event === "filled"));
    const ended = await endOf(served);
    assert(ended.complete, JSON.stringify(ended));
    assertEquals(ended.pages, 2048);
    await served.server.close();
    await vmm.check();
    await using another = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await another.check();
    assertEquals(served.events.filter(({ event }) => event === "begun").length, 1);
  }),
);

testUnless(
  needsVmm,
  "Lazy asks a page server for what a VM touches, and gets it though nothing else comes",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file, { order: ONLY_ASKED });
    const { lazy } = await lazyFrom(file, served.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    const figures = () => {
      const { pages, received, requested } = lazy.remoteStatistics()!;
      return [pages, received, requested];
    };
    assertEquals(figures(), [2048, 0, 0]);
    for (const page of [2047, 0, 768, 767, 3]) {
      assertEquals(await vmm.touch(page * 4096), page % 7 === 3 ? "both" : "image");
    }
    assertEquals(served.server.statistics()[0]!.pages, 5);
    assertEquals(figures(), [2048, 5, 5]);
    await vmm.check();
  }),
);

for (const fill of [false, true]) {
  testUnless(
    needsVmm,
    `Lazy leaves no byte of two VMs wrong that come from a page server under a balloon, fill ${fill}`,
    leavingNoDescriptors(async () => {
      using file = new MemoryFile(8 * MIB);
      await using served = await serve(file, { maxPostcopyBandwidth: 4 * MIB });
      const { lazy } = await lazyFrom(file, served.address, { fill });
      await using _lazy = lazy;
      await using one = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await using other = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await one.order("run 17 4 1500 2");
      await other.order("run 18 4 1500 1");
      for (const vmm of [one, other]) {
        await vmm.ranRight();
        await vmm.check();
      }
    }),
  );

  testUnless(
    firstOf(needsVmm, needsHugePages(3)),
    `Lazy serves regions of huge pages from a page server, fill ${fill}`,
    leavingNoDescriptors(async () => {
      const huge = 2 * MIB;
      using _granted = new GrantedHugePages(3);
      using file = new MemoryFile(5 * huge);
      await using served = await serve(file, fill ? {} : { order: ONLY_ASKED });
      const { lazy, events } = await lazyFrom(file, served.address, { fill });
      await using _lazy = lazy;
      const regions = [
        { length: huge, offset: 0 },
        { length: 3 * huge, offset: huge, pageSize: huge },
        { length: huge, offset: 4 * huge },
      ];
      await using vmm = await Vmm.start(file.socket, { regions });
      if (fill) await until("all is there", () => events.some(({ event }) => event === "filled"));
      await vmm.order("run 5 3 500 1");
      const said = await vmm.says("ran");
      assert(said.startsWith("ran wrong=0 "), said);
      await vmm.check();
    }),
  );
}

testUnless(
  needsVmm,
  "Lazy fills nothing from a page server that was removed before it came",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file, { order: ONLY_ASKED });
    const { lazy, events } = await lazyFrom(file, served.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.remove(100 * 4096, 10 * 4096);
    await served.restart();
    await until("all is filled", () => events.some(({ event }) => event === "filled"));
    const { urgent, background } = lazy.statistics()[0]!;
    assertEquals(urgent + background, 2038);
    assertEquals(await vmm.touch(104 * 4096), "zeros");
  }),
);

testUnless(
  needsVmm,
  "PageServer serves one image to several clients at once",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    using second = new MemoryFile(8 * MIB);
    await using served = await serve(file);
    const { lazy: one } = await lazyFrom(file, served.address, { fill: false });
    await using _one = one;
    const { lazy: other } = await lazyFrom(second, served.address);
    await using _other = other;
    await using atOne = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await using atOther = await Vmm.start(second.socket, { regions: TWO_REGIONS });
    for (const vmm of [atOne, atOther]) await vmm.order("check");
    for (const vmm of [atOne, atOther]) assertEquals(await vmm.says("checked"), "checked wrong=0");
    assertEquals(served.events.filter(({ event }) => event === "begun").length, 2);
  }),
);

for (const [kind, make] of Object.entries({ certificates, "a pre-shared key": preSharedKey })) {
  testUnless(
    firstOf(needsVmm, needsOpenssl()),
    `Lazy takes pages from a page server through TLS with ${kind}, and again after a break`,
    leavingNoDescriptors(async () => {
      using file = new MemoryFile(8 * MIB);
      await using ends = await make();
      const { destination: tls } = ends.encryption;
      await using served = await serve(file, { tls, order: ONLY_ASKED });
      const { lazy, events } = await lazyFrom(file, served.address, { tls });
      await using _lazy = lazy;
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      assertEquals(await vmm.touch(4096), "image");
      await served.restart({ tls });
      await vmm.check();
      await until("it is whole", () => events.some(({ event }) => event === "complete"));
    }),
  );
}

testUnless(
  needsVmm,
  "Lazy goes on with a page server when its own thread dies under load",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using pool = new ThreadPool({ urgentThreads: 1, linger: 0 });
    await using served = await serve(file, { order: ONLY_ASKED });
    const { lazy, events } = await lazyFrom(file, served.address, { pool });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.order("run 23 4 1000000000 1");
    for (let times = 0; times < 3; times++) {
      await anotherFault(lazy);
      pool.kill(LAZY_TASK.thread);
    }
    await until("it is found again", () => events.at(-1)?.event === "server-found");
    await anotherFault(lazy);
    await vmm.order("stop");
    await vmm.ranRight();
    await vmm.check();
  }),
);
