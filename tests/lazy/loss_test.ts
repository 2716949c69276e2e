import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { Lazy, LazyEvent } from "../../client/lazy/lazy.ts";
import type { OnLoss } from "../../client/lazy/lazy_task.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { serving } from "./serving.ts";
import { MemoryFile, needsVmm, Vmm } from "./vmm.ts";

const PAGE = 4096;
const regions = [{ length: 64 * PAGE, offset: 0 }];

/** A served VM of which one page is in place, and whose image has just changed. */
async function afterChange(
  onLoss: OnLoss | undefined,
  test: (at: { file: MemoryFile; vmm: Vmm; lazy: Lazy; events: LazyEvent[] }) => Promise<void>,
): Promise<void> {
  using file = new MemoryFile(64 * PAGE);
  Deno.utimeSync(file.path, 1000, 1000);
  const { lazy, events } = await serving(file, { fill: false, onLoss });
  await using _lazy = lazy;
  await using vmm = await Vmm.start(file.socket, { regions });
  assertEquals(await vmm.touch(PAGE), "image");
  Deno.utimeSync(file.path, 2000, 2000);
  await test({ file, vmm, lazy, events });
}

testUnless(
  needsVmm,
  "Lazy holds whoever wants a page of an image that changed, and goes on once it is what it was",
  leavingNoDescriptors(() =>
    afterChange(undefined, async ({ file, vmm, events }) => {
      await vmm.order(`touch ${2 * PAGE}`);
      await until("the loss", () => events.some(({ event }) => event === "lost"));
      const lost = events.find((event) => event.event === "lost");
      assert(lost?.event === "lost" && lost.doing === "hold");
      assert(lost.reason.startsWith("Image was changed after it was opened"), lost.reason);
      assert(!vmm.hasSaid("touched"));
      Deno.utimeSync(file.path, 1000, 1000);
      assertEquals(await vmm.says("touched"), `touched ${2 * PAGE} image`);
      await until("the end of it", () => events.some(({ event }) => event === "found"));
    })
  ),
);

testUnless(
  needsVmm,
  "Lazy gives zeros for removed pages though the image changed",
  leavingNoDescriptors(() =>
    afterChange(undefined, async ({ vmm, events }) => {
      await vmm.order(`touch ${2 * PAGE}`);
      await until("the loss", () => events.some(({ event }) => event === "lost"));
      await vmm.remove(5 * PAGE);
      assertEquals(await vmm.touch(5 * PAGE), "zeros");
      assert(!vmm.hasSaid("touched"));
    })
  ),
);

testUnless(
  needsVmm,
  "Lazy has whoever wants a page of an image that changed get SIGBUS, if told so",
  leavingNoDescriptors(() =>
    afterChange("poison", async ({ vmm, lazy }) => {
      await vmm.order(`touch ${2 * PAGE}`);
      assertEquals(await vmm.says("bus"), `bus ${2 * PAGE}`);
      await until("the figure", () => lazy.statistics()[0]!.poisoned === 1);
      assertEquals(await vmm.touch(PAGE), "image");
    })
  ),
);

testUnless(
  needsVmm,
  "Lazy ends the process that wants a page of an image that changed, if told so",
  leavingNoDescriptors(() =>
    afterChange("kill", async ({ vmm, events }) => {
      await vmm.order(`touch ${2 * PAGE}`);
      const { signal } = await within("its end", vmm.status);
      assertEquals(signal, "SIGKILL");
      await until("its end is noticed", () => events.some(({ event }) => event === "ended"));
    })
  ),
);

testUnless(
  needsVmm,
  "Lazy holds whoever wants a page of an image that was cut short",
  leavingNoDescriptors(() =>
    afterChange(undefined, async ({ file, vmm, events }) => {
      Deno.truncateSync(file.path, 0);
      Deno.utimeSync(file.path, 1000, 1000);
      await vmm.order(`touch ${2 * PAGE}`);
      await until("the loss", () => events.some(({ event }) => event === "lost"));
      assert(!vmm.hasSaid("touched"));
    })
  ),
);
