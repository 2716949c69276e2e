import "../support/native.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import type { GuestMemory } from "../../migration/guest.ts";
import { Buffer } from "node:buffer";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import type { WorkloadOptions } from "../../workload/options.ts";
import { WorkloadError } from "../../workload/workload_error.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { until, within } from "../support/deadline.ts";
import { LocalFaults } from "../support/local_faults.ts";

const PAGES = 2048;
const pattern = { seed: 42, zeroEvery: 4 };
const deviceState = encodeWorkloadState({ ...pattern, pages: PAGES });

function oneBlock({ address, length }: MappedMemory): GuestMemory {
  return { blocks: [{ name: "ram", address, length, fd: -1, pageSize: 4096 }] };
}

/** Memory with the pattern in place. */
function filled(pages = PAGES): MappedMemory {
  const memory = MappedMemory.anonymous(pages * 4096);
  const words = new Int32Array(memory.bytes().buffer);
  const content = new TestPattern(pattern);
  for (let page = 0; page < pages; page++) content.expectedPage(page, words, page * 1024);
  return memory;
}

async function runOver(memory: MappedMemory, options: WorkloadOptions): Promise<WorkloadGuest> {
  const guest = new WorkloadGuest(options);
  guest.load(deviceState, oneBlock(memory));
  guest.start();
  await guest.ended;
  return guest;
}

Deno.test('WorkloadGuest with "once" waits for each missing page once', async () => {
  await using faults = new LocalFaults(PAGES, { pattern });
  const guest = await runOver(faults.memory, { pattern: "once" });
  const { failures, touched, accesses, waits } = guest.statistics();
  assertEquals({ failures, touched, accesses, waits }, {
    failures: [],
    touched: PAGES,
    accesses: PAGES,
    waits: PAGES,
  });
  assertEquals(await faults.stop(), PAGES);
  await guest.stop();
});

Deno.test("WorkloadGuest knows what random writers left in every byte", async () => {
  await using faults = new LocalFaults(PAGES, { pattern });
  const guest = await runOver(faults.memory, { threads: 3, write: true, untilTouched: true });
  assertEquals(guest.statistics().failures, []);
  assertEquals(guest.statistics().touched, PAGES);
  assertEquals(await guest.check(), { pages: PAGES, wrongPages: 0 });
  await guest.stop();
});

Deno.test("WorkloadGuest changes the memory when it writes", async () => {
  using memory = filled();
  const before = memory.bytes().slice();
  const guest = await runOver(memory, {
    threads: 1,
    write: true,
    accesses: 10,
    pattern: "sequential",
  });
  const after = memory.bytes();
  let changed = 0;
  for (let index = 0; index < before.length; index++) if (before[index] !== after[index]) changed++;
  assertGreaterOrEqual(changed, 10); // a carry changes more than one byte
  await guest.stop();
});

Deno.test("WorkloadGuest with readers in sequence lets every thread read every page", async () => {
  await using faults = new LocalFaults(PAGES, { pattern });
  const guest = await runOver(faults.memory, {
    threads: 2,
    pattern: "sequential",
    accesses: PAGES,
  });
  const { failures, touched, accesses } = guest.statistics();
  assertEquals({ failures, touched, accesses }, {
    failures: [],
    touched: PAGES,
    accesses: 2 * PAGES,
  });
  await guest.stop();
});

Deno.test("WorkloadGuest reports the wrong byte that it read, and stops", async () => {
  const flip = { page: 1999, offset: 2345 };
  await using faults = new LocalFaults(PAGES, { pattern, flip });
  const guest = await runOver(faults.memory, { untilTouched: true });
  const page = new Int32Array(1024);
  new TestPattern(pattern).expectedPage(flip.page, page);
  const expected = new Uint8Array(page.buffer)[flip.offset]!;
  const { failures } = guest.statistics();
  assertEquals(failures[0], { ...flip, expected, found: expected ^ 1 });
  await guest.stop();
});

Deno.test("WorkloadGuest.check finds a byte that changed behind the guest's back", async () => {
  using memory = filled();
  const guest = await runOver(memory, { write: true, accesses: 5000 });
  assertEquals((await guest.check()).wrongPages, 0);
  memory.bytes()[1234 * 4096 + 77]! ^= 0x80;
  const { wrongPages, first } = await guest.check();
  assertEquals([wrongPages, first?.page, first?.offset], [1, 1234, 77]);
  await guest.stop();
});

Deno.test("WorkloadGuest.check works over several RAM blocks of odd sizes", async () => {
  using memory = filled();
  const blocks = [[0, 7], [7, 40], [47, PAGES - 47]].map(([first, pages], index) => ({
    name: `block${index}`,
    address: memory.address + first! * 4096,
    length: pages! * 4096,
    fd: -1,
    pageSize: 4096,
  }));
  const guest = new WorkloadGuest({ write: true, untilTouched: true });
  guest.load(deviceState, { blocks });
  guest.start();
  await guest.ended;
  assertEquals(guest.statistics().failures, []);
  assertEquals(await guest.check(), { pages: PAGES, wrongPages: 0 });
  await guest.stop();
});

Deno.test("WorkloadGuest.stop does not check what a thread reads after it was let go", async () => {
  await using faults = new LocalFaults(PAGES, { pattern, hold: 5 });
  const guest = new WorkloadGuest({ threads: 1, pattern: "sequential" });
  guest.load(deviceState, oneBlock(faults.memory));
  guest.start();
  await until("accesses", () => guest.statistics().accesses === 5);
  const stopped = guest.stop();
  faults.release(); // page 5 reads as zeros now, as the pattern has it not
  await stopped;
  assert(!new TestPattern(pattern).isZero(5));
  assertEquals(guest.statistics().failures, []);
});

Deno.test("WorkloadGuest.stop leaves a thread behind whose page does not come", async () => {
  await using faults = new LocalFaults(PAGES, { pattern, hold: 5 });
  const guest = new WorkloadGuest({ threads: 2, pattern: "once", write: true });
  guest.load(deviceState, oneBlock(faults.memory));
  guest.start();
  await until("all accesses of one thread", () => guest.statistics().accesses >= PAGES / 2);
  await guest.stop();
  faults.release();
  await guest.ended;
  assertEquals(faults.memory.bytes(5 * 4096, 4096).every((byte) => byte === 0), true);
});

Deno.test("WorkloadGuest keeps its rate", async () => {
  using memory = filled();
  const before = performance.now();
  const guest = await runOver(memory, { threads: 1, rate: 1000, accesses: 101 });
  assertGreaterOrEqual(performance.now() - before, 100);
  await guest.stop();
});

Deno.test("WorkloadGuest.latencies holds every wait, ascending, as the histogram counts them", async () => {
  await using faults = new LocalFaults(PAGES, { pattern });
  const guest = await runOver(faults.memory, { pattern: "once" });
  const latencies = guest.latencies();
  const { waits, meanWait, longestWait, waitBuckets } = guest.statistics();
  assertEquals(latencies.length, waits);
  assertEquals(latencies.at(-1), longestWait);
  assert(Math.abs(latencies.reduce((sum, each) => sum + each, 0) / waits - meanWait) < 1);
  assertEquals(waitBuckets.reduce((sum, count) => sum + count, 0), waits);
  assert(latencies.every((each, index) => index === 0 || each >= latencies[index - 1]!));
  await guest.stop();
});

Deno.test("WorkloadGuest.stop twice does nothing the second time", async () => {
  using memory = filled();
  const guest = new WorkloadGuest({ threads: 2, write: true });
  guest.load(deviceState, oneBlock(memory));
  guest.start();
  await until("accesses", () => guest.statistics().accesses > 100);
  await guest.stop();
  await within("the threads to have ended", guest.ended);
  const { accesses, failures } = guest.statistics();
  assertGreaterOrEqual(accesses, 100);
  const content = memory.bytes().slice();
  await guest.stop();
  assertEquals([guest.statistics().accesses, failures], [accesses, []]);
  assertEquals(Buffer.compare(memory.bytes(), content), 0);
  assertEquals(await guest.check(), { pages: PAGES, wrongPages: 0 });
});

Deno.test("WorkloadGuest.stop twice ends a guest that was never loaded, once", async () => {
  const guest = new WorkloadGuest();
  await guest.stop();
  await within("the threads to have ended", guest.ended);
  await within("the second stop", guest.stop());
  assertEquals(guest.statistics().accesses, 0);
});

Deno.test("WorkloadGuest.load refuses another guest's device state", async () => {
  const guest = new WorkloadGuest();
  const error = assertThrows(
    () => guest.load(new Uint8Array([4, 0, 0, 0, 9, 3, 0x63, 0x70, 0x75]), { blocks: [] }),
    WorkloadError,
  );
  assertEquals(error.code, "NOT_A_WORKLOAD");
  await guest.stop();
});

Deno.test("WorkloadGuest.load refuses memory of another size", async () => {
  using memory = MappedMemory.anonymous(4096);
  const guest = new WorkloadGuest();
  const error = assertThrows(
    () => guest.load(deviceState, oneBlock(memory)),
    WorkloadError,
  );
  assertEquals(error.code, "WRONG_MEMORY");
  await guest.stop();
});

Deno.test("WorkloadGuest.load refuses an image made with another seed", async () => {
  using memory = filled();
  const guest = new WorkloadGuest({ seed: 43 });
  const error = assertThrows(
    () => guest.load(deviceState, oneBlock(memory)),
    WorkloadError,
  );
  assertEquals(error.code, "WRONG_SEED");
  await guest.stop();
});
