/** A server of CRIU's processes that dies, and the next one, in orders that hardly ever come by themselves. */

import "../../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CRIU_TASK } from "../../../client/lazy/criu/criu_task.ts";
import { LazyTree, type LazyTreeEvent } from "../../../client/lazy/criu/lazy_tree.ts";
import { Holder } from "../../../client/lazy/holder/holder.ts";
import { ThreadPool } from "../../../migration/threads/thread_pool.ts";
import { programOf } from "../../support/c_program.ts";
import { until, within } from "../../support/deadline.ts";
import { LineProcess } from "../line_process.ts";
import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { type FaultReader, UffdEvent } from "../../../ffi/fault_reader.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";
import { testUnless } from "../../support/skip.ts";
import { needsVmm } from "../vmm.ts";
import { HandMoved, KILLED, wordOf, writeImages } from "./hand_moved.ts";

/** Has the server die behind the read of a message, before it does anything about it; children die with it. */
function deathAt(
  event: number,
): { readonly afterRead: (reader: FaultReader, count: number) => void } {
  return {
    afterRead(reader, count) {
      let found = false;
      for (let message = 0; message < count; message++) {
        found ||= reader.event(message) === event;
        if (reader.event(message) === UffdEvent.FORK) {
          closeDescriptor(reader.forkedDescriptor(message));
        }
      }
      if (found) throw new Error(KILLED);
    },
  };
}

async function touch(moved: HandMoved, page: number): Promise<string> {
  return (await moved.does(`touch ${page}`, "touched")).split(" ")[2]!;
}

testUnless(
  needsVmm,
  "CriuServer that dies goes on as another: what was moved, removed, unmapped and placed is known to it",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64, { held: true });
    await moved.does("move 0 16 100", "moved");
    await moved.does("remove 102 1", "removed");
    await moved.does("unmap 20 4", "unmapped");
    assertEquals(await touch(moved, 40), wordOf(40));
    moved.replace();
    assertEquals(await touch(moved, 105), wordOf(5));
    assertEquals(await touch(moved, 102), "0");
    await moved.does("move 24 8 120", "moved");
    moved.replace();
    assertEquals(await touch(moved, 121), wordOf(25));
    assertEquals(await touch(moved, 40), wordOf(40));
    assertEquals(await moved.does("fork 41", "child"), `child ${wordOf(41)}`);
    moved.replace();
    await moved.mover.order("finish");
    await moved.hears("finished");
    await moved.run("it is restored", () => moved.told.some(({ kind }) => kind === "restored"));
    moved.replace();
    for (
      const [page, word] of [[100, wordOf(0)], [102, "0"], [120, wordOf(24)], [
        63,
        wordOf(63),
      ]] as const
    ) {
      assertEquals(await touch(moved, page), word);
    }
  }),
);

for (
  const [event, deed, said, page, word, pages] of [
    ["REMOVE", "remove 5 3", "removed", 6, "0", 61],
    ["REMAP", "move 0 16 100", "moved", 106, wordOf(6), 64],
    ["UNMAP", "unmap 60 4", "unmapped", 59, wordOf(59), 60],
  ] as const
) {
  testUnless(
    needsVmm,
    `CriuServer that dies between the read of a message and all else has not forgotten it: ${event}`,
    leavingNoDescriptors(async () => {
      await using moved = await HandMoved.start(64, {
        held: true,
        hooks: deathAt(UffdEvent[event]),
      });
      await moved.run("it is handed over", () => moved.told.length > 1);
      await moved.mover.order(deed);
      await moved.runUntilDeath();
      moved.replace();
      const taken = moved.told.findLast((message) => message.kind === "process");
      assert(taken?.kind === "process");
      assertEquals(taken.pages, pages);
      await moved.hears(said);
      assertEquals(await touch(moved, page), word);
    }),
  );
}

testUnless(
  needsVmm,
  "CriuServer that dies behind the read of a fork leaves the child to the next, also before the child's page was asked for",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64, { held: true, hooks: deathAt(UffdEvent.FORK) });
    await moved.does("move 0 16 100", "moved");
    await moved.mover.order("fork 103");
    await moved.runUntilDeath();
    moved.replace();
    assertEquals(await moved.hears("child"), `child ${wordOf(3)}`);
    assert(moved.told.every(({ kind }) => kind !== "missed"));
    assertEquals(await touch(moved, 103), wordOf(3));
  }),
);

testUnless(
  needsVmm,
  "CriuServer says of a child whose userfaultfd was lost with the server before that it is served by nobody",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64, { held: true, hooks: deathAt(UffdEvent.FORK) });
    await moved.run("it is handed over", () => moved.told.length > 1);
    await moved.mover.order("fork 3");
    await moved.runUntilDeath();
    moved.loseChildren(); // as a kill between the read and the putting into the pouch does
    moved.replace();
    assertEquals(await moved.hears("child"), "child 0");
    const missed = () => moved.told.filter(({ kind }) => kind === "missed").length;
    assertEquals(missed(), 1);
    assertEquals(await touch(moved, 3), wordOf(3));
    // So does the next: nobody may have heard the one before.
    moved.replace();
    assertEquals(await touch(moved, 4), wordOf(4));
    assertEquals(missed(), 2);
  }),
);

testUnless(
  needsVmm,
  "CriuServer takes over what CRIU says from where the server before had kept it, connected or not",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64, { held: true });
    moved.replace(); // nobody was accepted
    assertEquals(await touch(moved, 1), wordOf(1));
    await moved.mover.order("finish");
    await moved.hears("finished");
    moved.replace(); // the word that all are restored was not read
    await moved.run("it is restored", () => moved.told.some(({ kind }) => kind === "restored"));
    assertEquals(moved.told.filter(({ kind }) => kind === "abandoned"), []);
  }),
);

testUnless(
  needsVmm,
  "CriuServer that takes over wakes who had asked the server before, and was not answered",
  leavingNoDescriptors(async () => {
    const hooks = deathAt(UffdEvent.PAGEFAULT);
    await using moved = await HandMoved.start(64, { held: true, hooks });
    await moved.run("it is handed over", () => moved.told.length > 1);
    await moved.mover.order("touch 9");
    await moved.runUntilDeath();
    moved.replace();
    assertEquals(await moved.hears("touched"), `touched 9 ${wordOf(9)}`);
  }),
);

testUnless(
  needsVmm,
  "CriuServer that takes over fills what is missing, and lets go of what is whole: nobody waits for it then",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64, { held: true, fill: true });
    assertEquals(await moved.does("fork 41", "child"), `child ${wordOf(41)}`);
    await moved.does("remove 8 8", "removed");
    moved.replace();
    await moved.mover.order("finish");
    await moved.run("it is done", () => moved.over);
    await moved.hears("finished");
    // Its userfaultfd is open nowhere: else it would wait for a server now.
    for (const [page, word] of [[3, wordOf(3)], [9, "0"], [63, wordOf(63)]] as const) {
      await moved.mover.order(`touch ${page}`);
      assertEquals(await moved.mover.says("touched"), `touched ${page} ${word}`);
    }
    await moved.mover.order("remove 3 1");
    await moved.mover.says("removed");
  }),
);

testUnless(
  needsVmm,
  "CriuServer goes on from a record that is written anew all the time",
  leavingNoDescriptors(async () => {
    const hooks = { renewAt: 3 };
    await using moved = await HandMoved.start(64, { held: true, hooks });
    for (let round = 0; round < 8; round++) {
      const [from, to] = round % 2 === 0 ? [0, 100] : [100, 0];
      await moved.does(`move ${from} 16 ${to}`, "moved");
      await moved.does(`remove ${to + round} 1`, "removed");
      await moved.does(`fork ${to + 15}`, "child");
      if (round % 3 === 2) moved.replace(hooks);
    }
    moved.replace(hooks);
    for (let page = 0; page < 15; page++) {
      assertEquals(await touch(moved, page), page < 8 ? "0" : wordOf(page), `page ${page}`);
    }
  }),
);

testUnless(
  needsVmm,
  "LazyTree with a holder leaves its process to the next one, and the holder with nothing when all is there",
  leavingNoDescriptors(async () => {
    const images = Deno.makeTempDirSync({ prefix: "postcopy-criu-held-" });
    using _images = { [Symbol.dispose]: () => Deno.removeSync(images, { recursive: true }) };
    await using holder = new Holder();
    await holder.listen(`${images}/holder`);
    const program = await programOf(import.meta.resolve("./mover.c"));
    await using mover = new LineProcess(program, [`${images}/lazy-pages.socket`, "64"]);
    const [pid, address] = (await mover.says("made")).split(" ").slice(1).map(Number);
    writeImages(images, pid!, address!, 64);
    const pool = new ThreadPool({ linger: 0 });
    const events: LazyTreeEvent[] = [];
    const open = async (fill: boolean) => {
      const onEvent = (event: LazyTreeEvent) => void events.push(event);
      const tree = await LazyTree.open({ images, holder: `${images}/holder`, fill, pool, onEvent });
      await tree.listen();
      return tree;
    };
    const first = await open(false);
    await mover.order("go");
    await mover.order("touch 7");
    assertEquals(await mover.says("touched"), `touched 7 ${wordOf(7)}`);
    await mover.order("move 8 8 100");
    await mover.says("moved");
    await first.close();
    assertEquals(holder.processes, 1);
    await mover.order("touch 103"); // nobody serves
    // A mistake that ends the task leaves it to the next one, too.
    const second = await open(false);
    assertEquals(await mover.says("touched"), `touched 103 ${wordOf(11)}`);
    pool.kill(CRIU_TASK.thread);
    await assertRejects(() => within("the server's end", second.done));
    await second.close();
    const third = await open(true);
    await mover.order("touch 104");
    assertEquals(await mover.says("touched"), `touched 104 ${wordOf(12)}`);
    await mover.order("finish");
    await within("all is there", third.done);
    await third.close();
    await until("it is let go", () => holder.processes === 0);
    assertEquals(events.filter(({ event }) => event === "unheld" || event === "missed"), []);
    await mover.order("touch 63");
    assertEquals(await mover.says("touched"), `touched 63 ${wordOf(63)}`);
  }),
);

testUnless(
  needsVmm,
  "LazyTree whose holder is gone says so, and gives no zeros when it is ended: its process gets SIGBUS",
  leavingNoDescriptors(async () => {
    const images = Deno.makeTempDirSync({ prefix: "postcopy-criu-held-" });
    using _images = { [Symbol.dispose]: () => Deno.removeSync(images, { recursive: true }) };
    const holder = new Holder();
    await holder.listen(`${images}/holder`);
    const program = await programOf(import.meta.resolve("./mover.c"));
    await using mover = new LineProcess(program, [`${images}/lazy-pages.socket`, "64"]);
    const [pid, address] = (await mover.says("made")).split(" ").slice(1).map(Number);
    writeImages(images, pid!, address!, 64);
    const events: LazyTreeEvent[] = [];
    const onEvent = (event: LazyTreeEvent) => void events.push(event);
    const tree = await LazyTree.open({ images, holder: `${images}/holder`, fill: false, onEvent });
    await tree.listen();
    await mover.order("go");
    await mover.order("touch 7");
    assertEquals(await mover.says("touched"), `touched 7 ${wordOf(7)}`);
    assert(tree.isHeld);
    await holder.close();
    await until("it is told", () => events.some(({ event }) => event === "unheld"));
    assert(!tree.isHeld);
    await mover.order("touch 8");
    assertEquals(await mover.says("touched"), `touched 8 ${wordOf(8)}`);
    await tree.close();
    await mover.order("touch 9");
    assertEquals((await within("its end", mover.status)).signal, "SIGBUS");
  }),
);
