/** Orders of events that hardly ever happen, forced by what the server calls before it places a page. */

import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { LazyCounter } from "../../client/lazy/lazy_state.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { UffdEvent } from "../../ffi/fault_reader.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import { HandDriven, type HandDrivenOptions } from "./hand_driven.ts";
import { MemoryFile, needsVmm } from "./vmm.ts";

const PAGE = 4096;
const HUGE = 512 * PAGE;
const regions = [{ length: 64 * PAGE, offset: 0 }];

/** Starts a VMM, and calls back once, before the first page is placed. */
async function interrupted(
  file: MemoryFile,
  options: Partial<HandDrivenOptions>,
  interrupt: (driven: HandDriven, page: number) => void,
): Promise<HandDriven> {
  let done = false;
  const beforePlacing = (page: number) => {
    if (done) return;
    done = true;
    interrupt(driven, page);
  };
  const driven: HandDriven = await HandDriven.start(file, {
    regions,
    hooks: { beforePlacing },
    ...options,
  });
  return driven;
}

testUnless(
  needsVmm,
  "LazyServer answers with zeros a page that is removed between its look-up and its placing",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    await using driven = await interrupted(file, {}, (driven) => driven.signalAndAwait("SIGUSR1"));
    const { vmm, state } = driven;
    await vmm.order(`arm ${PAGE} ${PAGE}`);
    await vmm.says("armed");
    await vmm.order(`touch ${PAGE}`);
    driven.awaitMessage();
    driven.step();
    assertEquals(state.get(LazyCounter.PARKED), 1, "the kernel refused it");
    assertEquals(state.get(LazyCounter.URGENT_PAGES), 0);
    await driven.run("the touch", () => vmm.hasSaid("touched"));
    assertEquals(await vmm.says("touched"), `touched ${PAGE} zeros`);
    await vmm.says("removed");
  }),
);

testUnless(
  needsVmm,
  "LazyServer fills no page that is removed between its look-up and its placing",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    const driven_ = interrupted(
      file,
      { fill: true },
      (driven) => driven.signalAndAwait("SIGUSR1"),
    );
    await using driven = await driven_;
    const { vmm, state, told } = driven;
    await vmm.order(`arm ${5 * PAGE} ${2 * PAGE}`);
    await vmm.says("armed");
    await driven.run("the end", () => told.some(({ kind }) => kind === "filled"));
    await vmm.says("removed");
    assert(state.get(LazyCounter.PARKED) > 0, "the kernel refused the batch");
    assertEquals(state.get(LazyCounter.BACKGROUND_PAGES), 62);
    await vmm.order(`touch ${5 * PAGE}`);
    await driven.run("the touch", () => vmm.hasSaid("touched"));
    assertEquals(await vmm.says("touched"), `touched ${5 * PAGE} zeros`);
    assertEquals(state.get(LazyCounter.FAULTS), 1);
  }),
);

testUnless(
  needsVmm,
  "LazyServer lets two threads go on with one page placed, though one came between",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    await using driven = await interrupted(file, {}, (driven) => driven.signalAndAwait("SIGUSR2"));
    const { vmm, state } = driven;
    await vmm.order(`arm ${PAGE}`);
    await vmm.says("armed");
    await vmm.order(`touch ${PAGE}`);
    driven.awaitMessage();
    for (let times = 0; times < 2; times++) {
      await driven.run("a touch", () => vmm.hasSaid("touched"));
      assertEquals(await vmm.says("touched"), `touched ${PAGE} image`);
    }
    assertEquals(state.get(LazyCounter.URGENT_PAGES), 1);
  }),
);

testUnless(
  needsVmm,
  "LazyServer leaves a page as it is that another has placed meanwhile",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    using other = MappedMemory.anonymous(PAGE);
    await using driven = await interrupted(file, {}, ({ handover }) => {
      const placer = new PagePlacer(handover.uffd);
      const to = handover.regions[0]!.address + PAGE;
      assertEquals(placer.copy(to, other.address, PAGE), Placement.PLACED);
    });
    const { vmm, state } = driven;
    await vmm.order(`touch ${PAGE}`);
    driven.awaitMessage();
    driven.step();
    assertEquals(await vmm.says("touched"), `touched ${PAGE} zeros`);
    assertEquals(state.get(LazyCounter.URGENT_PAGES), 0);
    assertEquals(
      await (async () => {
        await vmm.order(`touch ${2 * PAGE}`);
        await driven.run("another", () => vmm.hasSaid("touched"));
        return await vmm.says("touched");
      })(),
      `touched ${2 * PAGE} image`,
    );
  }),
);

testUnless(
  needsVmm,
  "LazyServer ends when the process is gone between the look-up of a page and its placing",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    let killed = false;
    await using driven = await interrupted(file, { fill: true }, ({ vmm, handover }) => {
      Deno.kill(vmm.pid, "SIGKILL");
      const set = new PollSet(1);
      set.watch(0, handover.peer.pidfd, PollEvents.IN);
      assert(set.wait(60_000) > 0, "it is gone");
      killed = true;
    });
    while (!killed) driven.step();
    assert(driven.over, "the step that found it gone was the last");
    assertEquals(driven.state.get(LazyCounter.BACKGROUND_PAGES), 0);
    assertEquals(driven.told, []);
  }),
);

/** Writes the message of a removal where a server that died read it to. */
function writeRemoval(bytes: Uint8Array<ArrayBuffer>, start: number, length: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint8(0, UffdEvent.REMOVE);
  view.setBigUint64(8, BigInt(start), true);
  view.setBigUint64(16, BigInt(start + length), true);
}

testUnless(
  needsVmm,
  "LazyServer knows a removal that the server before it had read and not noted",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(64 * PAGE);
    await using driven = await HandDriven.start(file, {
      regions,
      prepareRecord: (bytes, { regions }) =>
        writeRemoval(bytes, regions[0]!.address + PAGE, 2 * PAGE),
    });
    const { vmm } = driven;
    for (const [page, content] of [[1, "zeros"], [2, "zeros"], [4, "image"]] as const) {
      await vmm.order(`touch ${page * PAGE}`);
      await driven.run("the touch", () => vmm.hasSaid("touched"));
      assertEquals(await vmm.says("touched"), `touched ${page * PAGE} ${content}`);
    }
  }),
);

testUnless(
  firstOf(needsVmm, needsHugePages(2)),
  "LazyServer places a huge page of which a part was removed with zeros in that part alone",
  leavingNoDescriptors(async () => {
    using _granted = new GrantedHugePages(2);
    using file = new MemoryFile(2 * HUGE);
    await using driven = await HandDriven.start(file, {
      regions: [{ length: 2 * HUGE, offset: 0, pageSize: HUGE }],
      prepareRecord: (bytes, { regions }) =>
        writeRemoval(bytes, regions[0]!.address + 5 * PAGE, 2 * PAGE),
    });
    const { vmm, state } = driven;
    for (
      const [page, content] of [[4, "image"], [5, "zeros"], [6, "zeros"], [7, "image"]] as const
    ) {
      await vmm.order(`touch ${page * PAGE}`);
      await driven.run("the touch", () => vmm.hasSaid("touched"));
      assertEquals(await vmm.says("touched"), `touched ${page * PAGE} ${content}`);
    }
    assertEquals(state.get(LazyCounter.FAULTS), 1);
  }),
);

testUnless(
  needsVmm,
  "LazyServer says that all events are read when they are, and not behind those of one step",
  leavingNoDescriptors(async () => {
    const pages = 400;
    using file = new MemoryFile(pages * PAGE);
    const regions = [{ length: pages * PAGE, offset: 0 }];
    await using driven = await HandDriven.start(file, { regions });
    const { vmm, state, told } = driven;
    for (let page = 0; page < pages; page++) await vmm.order(`touch ${page * PAGE}`);
    await until("all to wait", () => vmm.waiting === pages);
    const asked = state.ask();
    driven.step();
    assert(state.get(LazyCounter.FAULTS) < pages, "more are there than a step reads");
    assertEquals(told, []);
    driven.step();
    assertEquals(state.get(LazyCounter.FAULTS), pages);
    assertEquals(told, [{ kind: "read", asked }]);
    driven.step();
    assertEquals(told.length, 1);
  }),
);
