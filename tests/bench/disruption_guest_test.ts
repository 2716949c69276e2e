import "../support/native.ts";
import {
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { type CapturedGuest, captureGuest } from "../../bench/disruption/captured.ts";
import type { Timing } from "../../bench/disruption/figures.ts";
import { parseRedisLine } from "../../bench/disruption/linux_files.ts";
import {
  restoreByQemu,
  restoreByServe,
  restoreFirst,
  type RestoreSetup,
} from "../../bench/disruption/qemu_restore.ts";
import { RestorableGuests } from "../../bench/disruption/restorable_guest.ts";
import {
  buildWorkerSector,
  parseWorkerLine,
  workingSetOf,
} from "../../bench/disruption/worker_guest.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { WORKING_SET_ADDRESS } from "../../qemu/bare_machine.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { needsRoot, skipReason, testUnless } from "../support/skip.ts";

const binary = qemuFromEnvironment();
const reason = await whyNoQemu(binary);
const skip = reason === undefined ? needsRoot() : skipReason("missing package", reason);

const MEMORY = 24 << 20;
const TIMING: Timing = { window: 200, settle: 0, undisturbed: 200 };
/** So slow a background that the guest runs before it is done, and asks for what it wants. */
const LIMIT = 8 << 20;
const SETUP: RestoreSetup = { placement: "scheduler", limit: LIMIT, timing: TIMING };

/** Captures a guest and does something with it. */
async function withGuest(
  name: "random" | "sequential" | "hot",
  use: (captured: CapturedGuest) => Promise<void>,
): Promise<void> {
  using guests = new RestorableGuests({ binary, memory: MEMORY, kernel: undefined });
  using directory = new TemporaryDirectory();
  await use(await captureGuest(await guests.make(name), `${directory.path}/guest`));
}

testUnless(skip, "restores of a guest by either side and of all first tell its work", async () => {
  await withGuest("random", async (captured) => {
    assertGreater(captured.luggage.work, 0);
    for (const restore of [restoreFirst, restoreByServe, restoreByQemu]) {
      const { seen, ...figures } = await restore(captured, SETUP);
      if (!("done" in seen)) throw new Error("The guest runs no script");
      assertGreaterOrEqual(seen.done, 0, restore.name); // a guest that only waits does nothing
      assertGreater(seen.pace, 0, restore.name);
      if (restore === restoreFirst) {
        assertEquals(figures, {});
        continue;
      }
      assertGreater(figures.running!, 0, restore.name);
      assertGreater(figures.total!, 0, restore.name);
      assertGreater(figures.faults!, 0, restore.name);
      assertGreater(figures.destinationCpu! + figures.sourceCpu!, 0, restore.name);
    }
  });
});

testUnless(skip, "a restored guest that finds a wrong page fails its run", async () => {
  await withGuest("hot", async (captured) => {
    const page = WORKING_SET_ADDRESS; // the first of the hot pages
    const bytes = Deno.readFileSync(captured.path);
    const at = findPage(bytes, page);
    bytes[at] = 1;
    Deno.writeFileSync(captured.path, bytes);
    const found = `Guest hot found something wrong: WRONG page 00${page.toString(16)}`;
    await assertRejects(() => restoreFirst(captured, SETUP), Error, found);
  });
});

/** Finds a page of the guest's in a stream: its address, a counter, and numbers a step apart. */
function findPage(bytes: Uint8Array<ArrayBuffer>, address: number): number {
  const view = new DataView(bytes.buffer);
  const word = (at: number): number => view.getUint32(at, true);
  for (let at = 0; at + 4096 <= bytes.length; at++) {
    if (word(at) !== address) continue;
    if ((word(at + 8) + 0x9e3779b1) >>> 0 === word(at + 12)) return at;
  }
  throw new Error(`No such page in the stream: ${address}`);
}

Deno.test("buildWorkerSector refuses a working set that no machine has, and half a loop", () => {
  const sector = buildWorkerSector({ workingSet: 1 << 20, order: "hot", pause: 100 });
  assertEquals([sector.length, sector[510], sector[511]], [512, 0x55, 0xaa]);
  for (const workingSet of [0, 4097, (1 << 20) + 1, 3 * 2 ** 30, NaN]) {
    const build = () => buildWorkerSector({ workingSet, order: "random" });
    assertThrows(build, RangeError, `2.5 GiB: ${workingSet}`);
  }
  const half = () => buildWorkerSector({ workingSet: 1 << 20, order: "random", pause: 0.5 });
  assertThrows(half, RangeError, "loops: 0.5");
});

Deno.test("workingSetOf leaves room for what lies below and above", () => {
  assertEquals(workingSetOf(64 << 20), 61 << 20);
});

Deno.test("parseWorkerLine reads whole lines alone", () => {
  assertEquals(parseWorkerLine("w 0000BAD2"), 0xbad2);
  for (const cut of ["w 0000BAD", "0000BAD2", "w 0000BAD2 ", "WRONG page 00200000", ""]) {
    assertEquals(parseWorkerLine(cut), undefined);
  }
});

Deno.test("parseRedisLine reads whole lines alone", () => {
  assertEquals(parseRedisLine("w 120"), 120);
  for (const cut of ["w ", "w 12x", "[ 1.0] w 12", "12"]) {
    assertEquals(parseRedisLine(cut), undefined);
  }
});
