import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { viewMemory } from "../../ffi/memory.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { liveBlockSizes } from "../../workload/blocks.ts";
import type { CheckResult } from "../../workload/check.ts";
import type { WorkloadStatistics } from "../../workload/crew.ts";
import { LiveWorkload, type LiveWorkloadOptions } from "../../workload/live_workload.ts";
import { encodeLiveState, parseLiveState } from "../../workload/live_state.ts";
import { WorkloadError } from "../../workload/workload_error.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { until, within } from "../support/deadline.ts";
import { LocalFaults } from "../support/local_faults.ts";

const PAGES = 4096;
const BLOCKS = liveBlockSizes(PAGES * 4096, 4096);

/** The bytes of a block of a region. */
function bytesOf(blocks: readonly GuestBlock[], name: string): Uint8Array<ArrayBuffer> {
  const { address, length } = blocks.find((block) => block.name === name)!;
  return viewMemory(address, length);
}

/** Runs a guest until it has written something, stops it, and lets it be used. */
async function withStopped(
  options: LiveWorkloadOptions,
  use: (guest: LiveWorkload, region: LiveRegion) => Promise<void>,
): Promise<void> {
  using region = new LiveRegion({ blocks: BLOCKS });
  await using guest = new LiveWorkload(region.blocks, options);
  await guest.start();
  await until("accesses", () => guest.statistics().accesses > 20_000);
  await within("stop", guest.stop());
  await use(guest, region);
}

/** What became of a guest at its destination. */
interface Outcome {
  readonly statistics: WorkloadStatistics;
  readonly check: CheckResult;
}

/** Copies a stopped guest's memory, as a migration does, and lets it go on there for a while. */
async function goOn(
  guest: LiveWorkload,
  region: LiveRegion,
  change: (blocks: readonly GuestBlock[]) => void = () => {},
): Promise<Outcome> {
  using copy = new LiveRegion({ blocks: BLOCKS });
  for (const { name } of BLOCKS) bytesOf(copy.blocks, name).set(bytesOf(region.blocks, name));
  change(copy.blocks);
  const destination = new WorkloadGuest({ threads: 3, write: true, accesses: 5000 });
  destination.load(guest.save(), { blocks: copy.blocks });
  destination.start();
  await within("accesses", destination.ended);
  return { statistics: destination.statistics(), check: await destination.check() };
}

Deno.test("LiveWorkload fills all of its memory before its threads run", async () => {
  using region = new LiveRegion({ blocks: BLOCKS });
  await using guest = new LiveWorkload(region.blocks, { write: false, zeroEvery: 0, rate: 1 });
  await guest.start();
  await within("stop", guest.stop());
  assertEquals(await guest.check(), {
    pages: PAGES,
    wrongPages: 0,
    writes: { expected: 0, found: 0 },
  });
  const ram = bytesOf(region.blocks, "ram");
  assertEquals(ram.subarray(0, 4096).some((byte) => byte !== 0), true);
  assertGreater(guest.fillTime, 0);
});

Deno.test("LiveWorkload.stop leaves memory as it is until resume", async () => {
  await withStopped({ threads: 3 }, async (guest, region) => {
    assertEquals(guest.running, false);
    const ram = bytesOf(region.blocks, "ram").slice();
    const writes = bytesOf(region.blocks, "writes").slice();
    const state = guest.save();
    const { accesses } = guest.statistics();
    assertEquals((await guest.check()).wrongPages, 0);
    assertEquals(Buffer.compare(ram, bytesOf(region.blocks, "ram")), 0);
    assertEquals(writes, bytesOf(region.blocks, "writes"));
    assertEquals(state, guest.save());
    guest.resume();
    await until("more accesses", () => guest.statistics().accesses > accesses + 1000);
    assertEquals(guest.running, true);
  });
});

Deno.test("LiveWorkload knows what its threads left in every byte after many stops", async () => {
  await withStopped({ threads: 4 }, async (guest) => {
    for (let stop = 0; stop < 20; stop++) {
      guest.resume();
      await within("stop", guest.stop());
      assertEquals(parseLiveState(guest.save())?.writes, guest.statistics().accesses);
    }
    await guest.halt();
    const { accesses, failures } = guest.statistics();
    assertEquals(failures, []);
    assertEquals(await guest.check(), {
      pages: PAGES,
      wrongPages: 0,
      writes: { expected: accesses, found: accesses },
    });
  });
});

Deno.test("LiveWorkload.check finds one wrong byte in a page, in a count and behind the counts", async () => {
  using region = new LiveRegion({ blocks: liveBlockSizes(1000 * 4096, 4096) });
  await using guest = new LiveWorkload(region.blocks);
  await guest.start();
  await guest.halt();
  for (
    const [name, offset, page] of [
      ["ram", 999 * 4096 + 4095, 999],
      ["writes", 77 * 4, 77],
      ["writes", 4095, 1000],
    ] as const
  ) {
    const bytes = bytesOf(region.blocks, name);
    bytes[offset]! ^= 1;
    const { wrongPages, first } = await guest.check();
    assertEquals([wrongPages, first?.page], [1, page]);
    if (page !== 77) assertEquals(first?.offset, 4095);
    bytes[offset]! ^= 1;
  }
  assertEquals((await guest.check()).wrongPages, 0);
});

for (const repeats of [1, 2, 64]) {
  Deno.test(`WorkloadGuest goes on where a LiveWorkload with words that repeat ${repeats} times was stopped`, async () => {
    await withStopped({ seed: 5, zeroEvery: 3, repeats }, async (guest, region) => {
      assertEquals(parseLiveState(guest.save())?.repeats, repeats);
      const { statistics: { failures, accesses }, check } = await goOn(guest, region);
      const writes = guest.statistics().accesses + accesses;
      assertEquals(failures, []);
      assertEquals(accesses, 15_000);
      assertEquals(check, {
        pages: PAGES,
        wrongPages: 0,
        writes: { expected: writes, found: writes },
      });
    });
  });
}

Deno.test("WorkloadGuest.check finds a page that is old together with its count", async () => {
  await withStopped({}, async (guest, region) => {
    const page = 1234;
    const oldPage = bytesOf(region.blocks, "ram").slice(page * 4096, (page + 1) * 4096);
    const oldCount = bytesOf(region.blocks, "writes").slice(page * 4, page * 4 + 4);
    const count = (): number =>
      new DataView(bytesOf(region.blocks, "writes").buffer).getInt32(page * 4, true);
    const before = count();
    guest.resume();
    await until("a write to the page", () => count() > before + 1);
    await within("stop", guest.stop());
    const lost = count() - before;
    const { statistics: { failures }, check } = await goOn(guest, region, (blocks) => {
      bytesOf(blocks, "ram").set(oldPage, page * 4096);
      bytesOf(blocks, "writes").set(oldCount, page * 4);
    });
    const { wrongPages, writes } = check;
    assertEquals(failures, []);
    assertEquals([wrongPages, writes!.expected - writes!.found], [0, lost]);
  });
});

Deno.test("WorkloadGuest.check finds every page that is not what its count says", async () => {
  await withStopped({ repeats: 4 }, async (guest, region) => {
    const { statistics: { failures }, check } = await goOn(guest, region, (blocks) => {
      bytesOf(blocks, "ram").fill(1, 7 * 4096, 10 * 4096);
    });
    assertEquals(check.wrongPages, 3);
    assert(failures.every(({ page }) => page >= 7 && page <= 9));
  });
});

Deno.test("WorkloadGuest.stop leaves a thread behind that waits for the count of its page", async () => {
  const pages = 1024;
  const pattern = { seed: 2, zeroEvery: 0 };
  await using faults = new LocalFaults(pages + 1, { pattern, hold: pages });
  const { address } = faults.memory;
  const counts = { name: "writes", address: address + pages * 4096, length: 4096 };
  const guest = new WorkloadGuest({ write: true });
  guest.load(encodeLiveState({ ...pattern, pages, counts: "writes", writes: 0 }), {
    blocks: [{ name: "ram", address, length: pages * 4096 }, counts].map((block) => ({
      ...block,
      fd: -1,
      pageSize: 4096,
    })),
  });
  guest.start();
  await within("stop", guest.stop());
  faults.release();
  await within("the end", guest.ended);
  const { accesses, waits, failures } = guest.statistics();
  assertEquals({ accesses, waits, failures }, { accesses: 0, waits: 0, failures: [] });
  assertEquals(await faults.stop(), 0); // no page was touched
});

Deno.test("LiveWorkload with a rate of 20000 keeps it", async () => {
  await withStopped({ threads: 1, rate: 20_000 }, async (guest) => {
    const { accesses } = guest.statistics();
    const began = performance.now();
    guest.resume();
    await until("a second's accesses", () => guest.statistics().accesses >= accesses + 20_000);
    // No faster, but for what is made up for; that it is no slower is the test of Pace, which has a
    // clock of its own: here it depends on what else the machine does.
    assertGreater(performance.now() - began, 800);
  });
});

Deno.test("LiveWorkload.stop wakes threads that wait for their next access", async () => {
  using region = new LiveRegion({ blocks: BLOCKS });
  await using guest = new LiveWorkload(region.blocks, { threads: 2, rate: 1 });
  await guest.start();
  // Woken and let go, a thread does the access that it waited for: by its rate in 100 s.
  const stopOften = async () => {
    for (let accesses = 2; accesses <= 200; accesses += 2) {
      await until("accesses", () => guest.statistics().accesses >= accesses);
      await guest.stop();
      guest.resume();
    }
  };
  await within("a hundred stops", stopOften(), 60_000);
});

Deno.test("LiveWorkload before its start can be stopped and closed", async () => {
  using region = new LiveRegion({ blocks: BLOCKS });
  const guest = new LiveWorkload(region.blocks);
  await within("stop", guest.stop());
  await within("close", guest.close());
  await within("close again", guest.close());
});

Deno.test("LiveWorkload refuses blocks without room for the counts", () => {
  using region = new LiveRegion({ blocks: [{ name: "ram", length: 8192 }] });
  const error = assertThrows(
    () => new LiveWorkload(region.blocks),
    WorkloadError,
    "ram (8192 bytes)",
  );
  assertEquals(error.code, "WRONG_MEMORY");
});

Deno.test("liveBlockSizes rounds the counts up to a host page and refuses a part of one", () => {
  assertEquals(BLOCKS.map(({ length }) => length), [PAGES * 4096, PAGES * 4]);
  const huge = 2 * 2 ** 20;
  assertEquals(liveBlockSizes(64 * huge, huge).map(({ length }) => length), [64 * huge, huge]);
  assertThrows(() => liveBlockSizes(huge + 4096, huge), RangeError, "2101248");
  assertThrows(() => liveBlockSizes(0, 4096), RangeError, ": 0");
});
