/** The order in which processes of a dump touched their memory, kept and replayed. */

import "../../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { LazyTree, type LazyTreeEvent } from "../../../client/lazy/criu/lazy_tree.ts";
import { TREE_ORDER, TreeOrder } from "../../../client/lazy/criu/tree_order.ts";
import { CriuImages } from "../../../client/lazy/criu/criu_images.ts";
import { TouchLog } from "../../../client/lazy/touch_log.ts";
import { within } from "../../support/deadline.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";
import { testUnless } from "../../support/skip.ts";
import { LazyProcess } from "../lazy_process.ts";
import { needsVmm } from "../vmm.ts";
import { CriuTask, needsCriu } from "./criu_task.ts";
import { HandMoved, wordOf } from "./hand_moved.ts";
import { pagemapBytes } from "./incremental.ts";

const PAGE = 4096;

/** A directory of images with two processes of 40 and 20 pages. */
class TwoProcesses implements Disposable {
  readonly directory = Deno.makeTempDirSync({ prefix: "postcopy-tree-order-" });

  constructor() {
    for (const [pid, pages] of [[7, 40], [12, 20]] as const) {
      const entries = [{ address: 0x100000, pages, flags: 6 }];
      Deno.writeFileSync(this.#path(`pagemap-${pid}.img`), pagemapBytes(pid, entries));
      Deno.writeFileSync(this.#path(`pages-${pid}.img`), new Uint8Array(pages * PAGE));
      Deno.writeTextFileSync(this.#path(`core-${pid}.img`), `registers of ${pid}`);
    }
    Deno.writeTextFileSync(this.#path("inventory.img"), "a dump");
  }

  /** Its order, with what the user is told of it; the plans of both processes. */
  async read(
    options = {},
  ): Promise<{ order: TreeOrder | undefined; plans: number[][]; told: string[] }> {
    using images = CriuImages.open(this.directory);
    const told: string[] = [];
    const processes = [...images.processes.values()];
    const order = await TreeOrder.open(
      this.directory,
      processes,
      options,
      (text) => told.push(text),
    );
    const plans = [7, 12].map((pid) => {
      const plan = order?.planOf(images.processes.get(pid)!);
      return plan === undefined ? [] : [...new Int32Array(plan)];
    });
    return { order, plans, told };
  }

  /** Has a process's registers be others, as in another dump. */
  change(): void {
    Deno.writeTextFileSync(this.#path("core-7.img"), "registers a second later");
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.directory, { recursive: true });
  }

  #path(name: string): string {
    return `${this.directory}/${name}`;
  }
}

Deno.test("TreeOrder keeps the touches of several processes in one file, for the same dump alone", async () => {
  using images = new TwoProcesses();
  const { order, plans } = await images.read({ record: true });
  assertEquals(plans, [[], []]);
  const log = order!.newLog()!;
  const [first, second] = [order!.firstPageOf(7), order!.firstPageOf(12)];
  for (const page of [first + 39, second, first + 3, second + 19, first + 39]) log.note(page);
  assertEquals(await order!.keep(log), `Order kept in ${images.directory}/${TREE_ORDER}: 4 pages`);
  assertEquals((await images.read()).plans, [[39, 3], [0, 19]]);
  assertEquals((await images.read()).order!.newLog(), undefined);
  assertEquals((await images.read({ order: "off" })).order, undefined);
  images.change();
  const other = await images.read();
  assertEquals(other.plans, [[], []]);
  assert(other.told[0]!.endsWith("it is of another save"), other.told[0]);
});

testUnless(
  needsVmm,
  "CriuProcess fills what is planned first, but for what was moved away or removed, and behind who waits",
  leavingNoDescriptors(async () => {
    const placed: number[] = [];
    const beforePlacing = (address: number) => {
      placed.push((address - moved.address) / PAGE);
    };
    const plan = [40, 41, 7, 63, 40, 12, 5];
    const touches = new TouchLog();
    const moved = await HandMoved.start(64, {
      hooks: { beforePlacing },
      fill: true,
      plan,
      touches,
    });
    await using _moved = moved;
    assertEquals(await moved.does("touch 50", "touched"), `touched 50 ${wordOf(50)}`);
    await moved.does("move 7 1 100", "moved");
    await moved.does("remove 63 1", "removed");
    await moved.mover.order("finish");
    await moved.run("it is done", () => moved.over);
    assertEquals(placed.slice(0, 5), [50, 40, 100, 12, 5]);
    assertEquals([...touches.pages], [50]);
    for (const [now, then] of [[40, 40], [100, 7], [12, 12], [5, 5], [30, 30]] as const) {
      await moved.mover.order(`touch ${now}`);
      assertEquals(await moved.mover.says("touched"), `touched ${now} ${wordOf(then)}`);
    }
  }),
);

testUnless(
  needsCriu,
  "LazyTree keeps what a real CRIU's processes touch, and fills by that when they are restored again",
  leavingNoDescriptors(async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    const told: LazyTreeEvent[] = [];
    const serve = async (options: { fill: boolean; record?: boolean }) => {
      const onEvent = (event: LazyTreeEvent) => void told.push(event);
      await using tree = await LazyTree.open({ images: task.images, onEvent, ...options });
      await tree.listen();
      const restoring = await task.restore();
      task.go();
      assertEquals(await task.result(), "wrong=0 more=0");
      await within("all is there", Promise.all([tree.done, restoring.ended]));
      Deno.removeSync(`${task.directory}/result`);
    };
    await serve({ fill: false, record: true });
    const notes = told.flatMap((each) => each.event === "note" ? [each.text] : []);
    assertEquals(notes.length, 1);
    const kept = /^Order kept in .*lazy-pages\.postcopy-order: (\d+) pages$/.exec(notes[0]!);
    const total = told.find(({ event }) => event === "handed-over");
    assert(total?.event === "handed-over" && kept !== null, notes[0]);
    // It reads all that it has written; of what it never touched again nothing is kept.
    assert(Number(kept[1]) > total.bytes / PAGE / 2);
    told.length = 0;
    await serve({ fill: true });
    assertEquals(told.filter(({ event }) => event === "note"), []);
    assert(told.some(({ event }) => event === "ended"));
  }),
);

testUnless(needsCriu, "lazy --criu --record keeps the order of a tree's processes", async () => {
  await using task = await CriuTask.start("tree");
  await task.dump();
  await using lazy = new LazyProcess(["--criu", task.images, "--no-fill", "--record"]);
  assert(await lazy.says("Listening on"));
  task.go();
  const restoring = await task.restore();
  assert(await lazy.says(`Order kept in ${task.images}/lazy-pages.postcopy-order: `));
  assertEquals((await within("its end", lazy.ended)).code, 0);
  assertEquals(await task.result(), "wrong=0 more=6");
  await within("the process's end", restoring.ended);
});
