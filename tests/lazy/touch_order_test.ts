import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { LazyCounter } from "../../client/lazy/lazy_state.ts";
import type { LazyOptions } from "../../client/lazy/lazy.ts";
import { openMemoryFile } from "../../image/raw/memory_file.ts";
import { guestOf } from "../../image/guest_stamp.ts";
import { readOrderOf } from "../../image/order/order_file.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { HandDriven } from "./hand_driven.ts";
import { serving } from "./serving.ts";
import { MemoryFile, needsVmm, Vmm } from "./vmm.ts";

const PAGE = 4096;
const regions = [{ length: 64 * PAGE, offset: 0 }];

/** The order beside a memory file. */
async function orderOf(file: MemoryFile): Promise<number[]> {
  using image = await openMemoryFile(file.path, true);
  const owner = { stamp: await guestOf(image), layout: image.layout };
  const found = await readOrderOf(`${file.path}.postcopy-order`, owner);
  return typeof found === "object" ? [...found.pages] : [];
}

/** Has a VM touch pages, and returns what the user was told. */
async function touching(
  file: MemoryFile,
  pages: readonly number[],
  options: Partial<LazyOptions>,
): Promise<string[]> {
  const { lazy, events } = await serving(file, { fill: false, ...options });
  {
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions });
    await vmm.remove(20 * PAGE);
    assertEquals(await vmm.touch(20 * PAGE), "zeros");
    for (const page of pages) assertEquals(await vmm.touch(page * PAGE), "image");
    await vmm.kill();
    await until("its end", () => events.some(({ event }) => event === "ended"));
  }
  return events.flatMap((each) => each.event === "note" ? [each.text] : []);
}

testUnless(
  needsVmm,
  "Lazy keeps the order in which VMs touch their memory if told so, but for what they removed",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    assertEquals(await touching(file, [40, 41, 7], {}), []);
    assertEquals(await orderOf(file), []);
    const path = `${file.path}.postcopy-order`;
    const [told] = await touching(file, [40, 41, 7], { record: true });
    assertEquals(told, `Order kept in ${path}: 3 pages`);
    assertEquals(await orderOf(file), [40, 41, 7]);
    await touching(file, [63, 7], { record: true });
    assertEquals((await orderOf(file)).toSorted((one, other) => one - other), [7, 40, 41, 63]);
    assertEquals((await orderOf(file))[0], 63);
  }),
);

testUnless(
  needsVmm,
  "Lazy serves all the same with an order that is none, and leaves one that was named as it is",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    const order = `${file.directory}/precious`;
    Deno.writeTextFileSync(order, "something else");
    const told = await touching(file, [1], { order, record: true });
    assert(told[0]!.startsWith(`Order ${order} is not used: `), told[0]);
    assert(told[1]!.startsWith(`Order is not kept, ${order} stays as it is: `), told[1]);
    assertEquals(Deno.readTextFileSync(order), "something else");
    assertEquals(await touching(file, [1], { order: "off", record: true }), []);
  }),
);

testUnless(
  needsVmm,
  "LazyServer fills what is planned first, in its order, and no page twice",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    const placed: number[] = [];
    const hooks = { beforePlacing: (page: number) => void placed.push(page) };
    const plan = [40, 41, 7, 63, 40, 12];
    await using driven = await HandDriven.start(file, { regions, fill: true, hooks, plan });
    const { vmm, state } = driven;
    // Who waits comes before all that is planned.
    await vmm.order(`touch ${50 * PAGE}`);
    driven.awaitMessage();
    await driven.run("all", () => driven.told.some(({ kind }) => kind === "filled"));
    assertEquals(placed.slice(0, 5), [50, 40, 7, 63, 12]);
    const pages = state.get(LazyCounter.URGENT_PAGES) + state.get(LazyCounter.BACKGROUND_PAGES);
    assertEquals(pages, 64);
    await vmm.says("touched");
    await vmm.check();
  }),
);
