import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { Holder, type HolderEvent } from "../../client/lazy/holder/holder.ts";
import { Lazy, type LazyEvent } from "../../client/lazy/lazy.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { holderOf, LazyProcess } from "./lazy_process.ts";
import { MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";

const PAGE = 4096;

/** Arguments of a server that is held. */
function heldArguments(file: MemoryFile): string[] {
  return ["--firecracker", file.socket, "--image", file.path, "--held-by", holderOf(file)];
}

testUnless(
  needsVmm,
  "lazy that is killed with -9 under load again and again is replaced without a lost fault or removal",
  async () => {
    using file = new MemoryFile(8 * MIB);
    await using _held = await LazyProcess.holding(file);
    const start = () => LazyProcess.listening(...heldArguments(file));
    let lazy = await start();
    try {
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await vmm.order("run 31 4 1000000000 1");
      for (let times = 0; times < 4; times++) {
        await lazy.event("progress");
        lazy.kill("SIGKILL");
        await lazy.ended;
        if (times === 0) {
          // Nobody serves: it waits with what it hands over, and is served by the next.
          await using other = await Vmm.start(file.socket, { regions: TWO_REGIONS });
          await other.order(`touch ${PAGE}`);
          await until("the touch to wait", () => other.waiting > 0);
          lazy = await start();
          assertEquals(await other.says("touched"), `touched ${PAGE} image`);
        } else lazy = await start();
      }
      await lazy.event("progress");
      await vmm.order("stop");
      await vmm.ranRight();
      await vmm.check();
    } finally {
      lazy.kill("SIGKILL");
      await lazy.ended;
    }
  },
);

testUnless(
  needsVmm,
  "lazy with a holder is replaced by one that was started before it ended",
  async () => {
    using file = new MemoryFile(8 * MIB);
    await using held = await LazyProcess.holding(file);
    const args = heldArguments(file);
    await using old = await LazyProcess.listening(...args, "--no-fill");
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    await vmm.remove(2 * PAGE);
    await using next = new LazyProcess([...args, "--json"]);
    old.kill("SIGTERM");
    assertEquals((await within("its end", old.ended)).code, 0);
    await next.event("listening");
    await next.event("filled");
    assertEquals(await vmm.touch(2 * PAGE), "zeros");
    await vmm.check();
    held.kill("SIGTERM");
    assert(await held.says("Holds 1 VMs"));
    await vmm.kill();
    await next.event("ended");
    next.kill("SIGTERM");
    assertEquals((await within("its end", next.ended)).code, 0);
  },
);

testUnless(
  needsVmm,
  "Holder keeps what a server leaves for one with the same image, and lets go of what is gone",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    using small = new MemoryFile(4 * MIB);
    const told: HolderEvent[] = [];
    await using holder = new Holder((event) => told.push(event));
    const path = holderOf(file);
    await holder.listen(path);
    const events: LazyEvent[] = [];
    const open = async (image: string) => {
      const onEvent = (event: LazyEvent) => void events.push(event);
      const lazy = await Lazy.open({ image, holder: path, fill: false, onEvent });
      await lazy.listen(file.socket);
      return lazy;
    };
    const first = await open(file.path);
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    await first.close();
    await vmm.order(`touch ${2 * PAGE}`);
    await until("the touch to wait", () => vmm.waiting > 0);
    await (await open(small.path)).close();
    const refused = events.find((event) => event.event === "refused");
    assert(refused?.event === "refused" && refused.reason.includes("from another image"));
    assert(!vmm.hasSaid("touched"));
    await using second = await open(file.path);
    assertEquals(await vmm.says("touched"), `touched ${2 * PAGE} image`);
    assertEquals([holder.processes, second.processes], [1, 1]);
    await vmm.kill();
    await until("it is let go", () => holder.processes === 0);
  }),
);
