import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { MappedMemory } from "../../ffi/memory.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { Crew } from "../../workload/crew.ts";
import { workloadSettings } from "../../workload/options.ts";
import { SharedPages } from "../../workload/shared_pages.ts";
import { until, within } from "../support/deadline.ts";

const PAGES = 64;
const THREADS = 2;

/** Starts threads whose second access is due in a quarter of an hour; each has done its first. */
async function withSleepers(use: (crew: Crew) => Promise<void>): Promise<void> {
  using memory = MappedMemory.anonymous(PAGES * 4096);
  const pattern = new TestPattern({ seed: 1, zeroEvery: 1 }); // all of them are zero
  const crew = new Crew({ ...workloadSettings({ threads: THREADS }), rate: 0.001 });
  const ranges = [{ address: memory.address, pages: PAGES }];
  crew.give({ pattern, ranges, pages: new SharedPages(PAGES) });
  crew.start();
  await until("each thread's first access", () => crew.accesses === THREADS);
  await use(crew);
  assertEquals(crew.statistics().failures, []);
}

for (const how of ["stop", "halt"] as const) {
  Deno.test(`Crew.${how} ends threads that wait for their next access`, () =>
    withSleepers(async (crew) => {
      await within(how, crew[how]());
      await within("the end", crew.ended);
      assertEquals(crew.accesses, THREADS);
    }));
}

Deno.test("Crew.pause wakes threads that wait for their next access, as often as it is called", () =>
  withSleepers(async (crew) => {
    for (let round = 1; round <= 10; round++) {
      await within("pause", crew.pause());
      assertEquals(crew.accesses, THREADS * round);
      crew.resume();
      await until("the access that was due then", () => crew.accesses === THREADS * (round + 1));
    }
    await within("the end", crew.halt());
  }));
