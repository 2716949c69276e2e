/** What a process does to its map while pages are placed, in orders that hardly ever come by themselves. */

import "../../support/native.ts";
import { assertEquals } from "@std/assert";
import { waitingFaults } from "../../../ffi/waiting_faults.ts";
import { until } from "../../support/deadline.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";
import { testUnless } from "../../support/skip.ts";
import { needsVmm } from "../vmm.ts";
import { HandMoved, wordOf } from "./hand_moved.ts";

/** Starts a process that is armed, and has it act once, before the first page is placed. */
async function interrupted(armed: string, fill: boolean): Promise<HandMoved> {
  let done = false;
  const beforePlacing = () => {
    if (done) return;
    done = true;
    moved.signalAndAwait(newestUserfaultfd());
  };
  const moved = await HandMoved.start(64, { hooks: { beforePlacing }, fill });
  await moved.mover.order(`armed ${armed}`);
  await moved.mover.says("armed");
  return moved;
}

/** Of this process: that of the server, by which nothing is missing but the mover's memory. */
function newestUserfaultfd(): number {
  const numbers = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name));
  const found = numbers.filter((fd) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[userfaultfd]";
    } catch {
      return false; // that of the directory
    }
  });
  return Math.max(...found);
}

testUnless(
  needsVmm,
  "CriuProcess serves a page where it was moved to between the look at the map and the placing of it",
  leavingNoDescriptors(async () => {
    await using moved = await interrupted("move 0 16 100", false);
    assertEquals(await moved.does("touch 20", "touched"), `touched 20 ${wordOf(20)}`);
    await moved.hears("moved");
    assertEquals(await moved.does("touch 103", "touched"), `touched 103 ${wordOf(3)}`);
  }),
);

testUnless(
  needsVmm,
  "CriuProcess fills pages where they were moved to between the look at the map and the placing of them",
  leavingNoDescriptors(async () => {
    await using moved = await interrupted("move 0 64 100", true);
    await moved.mover.order("finish");
    await moved.run("it is done", () => moved.over);
    await moved.mover.says("moved");
    // Nobody serves any more: what is missing is zero.
    for (const page of [0, 15, 16, 40, 63]) {
      await moved.mover.order(`touch ${page + 100}`);
      assertEquals(await moved.mover.says("touched"), `touched ${page + 100} ${wordOf(page)}`);
    }
  }),
);

for (const [deed, said] of [["remove 0 16", "removed"], ["keep 0 16 100", "moved"]] as const) {
  testUnless(
    needsVmm,
    `CriuProcess has pages read as zeros that are gone before they are placed: ${deed}`,
    leavingNoDescriptors(async () => {
      await using moved = await interrupted(deed, true);
      await moved.mover.order("finish");
      await moved.hears(said);
      await moved.run("it is done", () => moved.over);
      for (const [page, word] of [[3, "0"], [16, wordOf(16)]] as const) {
        await moved.mover.order(`touch ${page}`);
        assertEquals(await moved.mover.says("touched"), `touched ${page} ${word}`);
      }
    }),
  );
}

testUnless(
  needsVmm,
  "CriuProcess answers a fault at an address that its page has just come to, which nobody has told of",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64);
    await moved.run("it is handed over", () => moved.told.length > 0);
    const uffd = newestUserfaultfd();
    await moved.mover.order("armed move 0 16 100");
    await moved.mover.says("armed");
    moved.signalAndAwait(uffd);
    // The message of the move waits to be read; a fault comes in front of it.
    await moved.mover.order("touch 105");
    await until("the fault waits too", () => waitingFaults(uffd) === 1);
    const touched = await moved.hears("touched");
    assertEquals(touched, `touched 105 ${wordOf(5)}`);
    await moved.hears("moved");
  }),
);

testUnless(
  needsVmm,
  "CriuProcess serves a child what its parent had, also what moved before, and what is removed behind it",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64);
    await moved.does("move 0 16 100", "moved");
    await moved.does("remove 102 1", "removed");
    assertEquals(await moved.does("fork 101", "child"), `child ${wordOf(1)}`);
    assertEquals(await moved.does("fork 102", "child"), "child 0");
    assertEquals(await moved.does("touch 101", "touched"), `touched 101 ${wordOf(1)}`);
    assertEquals(await moved.does("fork 40", "child"), `child ${wordOf(40)}`);
    await moved.does("remove 101 1", "removed");
    assertEquals(await moved.does("touch 101", "touched"), "touched 101 0");
  }),
);

testUnless(
  needsVmm,
  "CriuProcess does not take a page for one that is nowhere because its range ends within a batch",
  leavingNoDescriptors(async () => {
    await using moved = await HandMoved.start(64, { fill: true });
    // Ranges of 5 pages each, in the order that they were in.
    for (let first = 0; first < 60; first += 10) {
      await moved.does(`move ${first} 5 ${first + 100}`, "moved");
      await moved.does(`move ${first + 100} 5 ${first}`, "moved");
    }
    await moved.mover.order("finish");
    await moved.run("it is done", () => moved.over);
    for (let page = 0; page < 64; page++) {
      await moved.mover.order(`touch ${page}`);
      assertEquals(await moved.mover.says("touched"), `touched ${page} ${wordOf(page)}`);
    }
  }),
);
