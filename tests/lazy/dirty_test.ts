import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import { holderOf, LazyProcess } from "./lazy_process.ts";
import { serving } from "./serving.ts";
import { MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";

const PAGE = 4096;

/** Numbers of the pages whose bits are set. */
function pagesOf(bitmap: Uint8Array): number[] {
  const pages: number[] = [];
  for (let page = 0; page < bitmap.length * 8; page++) {
    if ((bitmap[page >>> 3]! >>> (page & 7) & 1) === 1) pages.push(page);
  }
  return pages;
}

for (const fill of [false, true]) {
  testUnless(
    needsVmm,
    `Lazy.dirtyPages tells what a VM has written to and removed, and nothing else, fill ${fill}`,
    leavingNoDescriptors(async () => {
      using file = new MemoryFile(8 * MIB);
      const { lazy, events } = await serving(file, { dirty: true, fill });
      await using _lazy = lazy;
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS, track: true });
      const served = fill ? "filled" : "handed-over";
      await until(served, () => events.some(({ event }) => event === served));
      assertEquals((await lazy.dirtyPages()).map(({ pages }) => pages), [0]);
      await vmm.remove(20 * PAGE, 10 * PAGE);
      await vmm.order("run 5 4 300 0");
      await vmm.says("ran wrong=0 ");
      await vmm.remove(1000 * PAGE, 10 * PAGE);
      // Reading all of it makes nothing dirty.
      await vmm.check();
      const [found] = await lazy.dirtyPages();
      const changed = await vmm.changed();
      assert(changed.length > 100 && changed.length < 2048, `${changed.length}`);
      assertEquals(pagesOf(found!.bitmap), changed);
      assertEquals([found!.pid, found!.pages], [vmm.pid, changed.length]);
      assertEquals(found!.bitmap.length, 256);
    }),
  );
}

testUnless(
  needsVmm,
  "Lazy.dirtyPages knows of a removal as soon as madvise has returned",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy } = await serving(file, { dirty: true, fill: false });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS, track: true });
    for (let page = 0; page < 200; page += 2) {
      await vmm.remove(page * PAGE);
      const [found] = await lazy.dirtyPages();
      assertEquals(pagesOf(found!.bitmap).at(-1), page);
    }
  }),
);

testUnless(
  firstOf(needsVmm, needsHugePages(4)),
  "Lazy.dirtyPages tells of huge pages as a whole what was written, and by pages what was removed",
  leavingNoDescriptors(async () => {
    using _granted = new GrantedHugePages(4);
    using file = new MemoryFile(8 * MIB);
    const { lazy } = await serving(file, { dirty: true, fill: false });
    await using _lazy = lazy;
    const regions = [{ length: 8 * MIB, offset: 0, pageSize: 2 * MIB }];
    await using vmm = await Vmm.start(file.socket, { regions, track: true });
    assertEquals(await vmm.touch(0), "image");
    assertEquals((await lazy.dirtyPages())[0]!.pages, 0);
    await vmm.order("run 5 1 1 0");
    await vmm.says("ran wrong=0");
    const [found] = await lazy.dirtyPages();
    const changed = await vmm.changed();
    const expected = new Set(changed.map((page) => page - page % 512));
    assertEquals(new Set(pagesOf(found!.bitmap).map((page) => page - page % 512)), expected);
    assertEquals(found!.pages, expected.size * 512);
  }),
);

testUnless(
  needsVmm,
  "Lazy says why it cannot be told what a VM writes to, and serves it all the same",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    const { lazy, events } = await serving(file, { dirty: true });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.check();
    const untold = events.find(({ event }) => event === "untold");
    assert(untold?.event === "untold" && untold.pid === vmm.pid);
    assert(/not registered for asynchronous write protection|Linux 6\.7/.test(untold.reason));
    assertEquals(await lazy.dirtyPages(), []);
  }),
);

testUnless(
  needsVmm,
  "lazy --dirty that is killed and replaced knows what a VM has written to before and since",
  async () => {
    using file = new MemoryFile(8 * MIB);
    await using held = await LazyProcess.holding(file);
    const args = [
      ...["--firecracker", file.socket, "--image", file.path, "--no-fill"],
      ...["--held-by", holderOf(file), "--dirty", file.directory],
    ];
    await using first = await LazyProcess.listening(...args);
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS, track: true });
    await vmm.remove(20 * PAGE, 10 * PAGE);
    await vmm.order("run 8 2 150 0");
    await vmm.says("ran wrong=0 ");
    // Half way through what is only read.
    for (let page = 0; page < 2048; page += 64) await vmm.touch(page * PAGE);
    first.kill("SIGKILL");
    await first.ended;
    await using next = await LazyProcess.listening(...args);
    await vmm.order("run 9 2 150 0");
    await vmm.says("ran wrong=0 ");
    await vmm.remove(1000 * PAGE, 10 * PAGE);
    await vmm.check();
    next.kill("SIGUSR1");
    await next.event("dirty");
    const changed = await vmm.changed();
    assertEquals(pagesOf(await Deno.readFile(`${file.directory}/${vmm.pid}.dirty`)), changed);
    await vmm.kill();
    await next.event("ended");
    for (const each of [next, held]) {
      each.kill("SIGTERM");
      assertEquals((await within("its end", each.ended)).code, 0);
    }
  },
);

testUnless(needsVmm, "lazy --dirty keeps a bitmap for each VM at SIGUSR1", async () => {
  using file = new MemoryFile(8 * MIB);
  const args = ["--firecracker", file.socket, "--image", file.path, "--dirty", file.directory];
  await using lazy = await LazyProcess.listening(...args);
  await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS, track: true });
  await vmm.order("run 6 2 100 0");
  await vmm.says("ran wrong=0");
  lazy.kill("SIGUSR1");
  const told = await lazy.event("dirty");
  const changed = await vmm.changed();
  const path = `${file.directory}/${vmm.pid}.dirty`;
  assertEquals(told, { event: "dirty", pid: vmm.pid, pages: changed.length, path });
  assertEquals(pagesOf(await Deno.readFile(path)), changed);
  await vmm.kill();
  await lazy.event("ended");
  lazy.kill("SIGTERM");
  assertEquals((await within("its end", lazy.ended)).code, 0);
});
