import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Toucher } from "../../bench/sessions/toucher.ts";
import {
  guestSize,
  PAGE_BYTES,
  pageAt,
  sessionAt,
  sessionsOf,
  type Share,
  type Walk,
  Walker,
} from "../../bench/sessions/walk.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { RegisterMode, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { TestPattern } from "../../workload/test_pattern.ts";

const PATTERN = { seed: 1, zeroEvery: 0 };
const ALONE: Share = { sessions: 1, process: 0, processes: 1 };

function shares(sessions: number, processes: number): Share[] {
  return Array.from({ length: processes }, (_, process) => ({ sessions, process, processes }));
}

Deno.test("sessionsOf divides all sessions among the processes", () => {
  assertEquals(shares(10, 4).map(sessionsOf), [3, 3, 2, 2]);
  assertEquals(shares(4, 4).map(sessionsOf), [1, 1, 1, 1]);
});

Deno.test("sessionAt gives each touch to one process, and its sessions their turns", () => {
  const all = shares(10, 4);
  for (let touch = 0; touch < 40; touch++) {
    const takers = all.filter((share) => sessionAt(touch, share) >= 0);
    assertEquals(takers.length, 1, `touch ${touch}`);
  }
  const turns = (share: Share) =>
    Array.from({ length: 20 }, (_, touch) => sessionAt(touch, share)).filter((turn) => turn >= 0);
  assertEquals(turns(all[0]!), [0, 1, 2, 0, 1, 2]);
  assertEquals(turns(all[3]!), [0, 1, 0, 1]);
});

Deno.test("pageAt touches no page of a session twice, and never its first", () => {
  for (const [touches, sessions] of [[18_500, 1], [4096, 3], [19_000, 1000]] as const) {
    const pages = guestSize(touches, sessions) / PAGE_BYTES;
    const seen = Array.from({ length: sessions }, () => new Set<number>());
    for (let touch = 0; touch < touches; touch++) {
      const page = pageAt(touch, sessions, pages);
      assert(page > 0 && page < pages, `page ${page} of ${pages}`);
      seen[touch % sessions]!.add(page);
    }
    assertEquals(seen.reduce((sum, { size }) => sum + size, 0), touches);
  }
});

Deno.test("guestSize is as small as it can be in steps of 4 MiB", () => {
  assertEquals(guestSize(1023, 1), 4 << 20);
  assertEquals(guestSize(1024, 1), 8 << 20);
  assertEquals(guestSize(10_000, 1000), 4 << 20);
});

Deno.test("Walker does what is its own, in order, and nothing before it is due", () => {
  const walk: Walk = { first: 30, count: 9, start: monotonicNanoseconds() + 5e6, interval: 2e6 };
  const done: number[] = [];
  const samples = new Walker().follow(walk, (touch) => touch % 3 === 1, (touch) => {
    assert(monotonicNanoseconds() >= walk.start + (touch - walk.first) * walk.interval);
    return done.push(touch);
  });
  assertEquals(done, [31, 34, 37]);
  assertEquals([...samples], [1, 2, 3]);
});

function walkNow(count: number): Walk {
  return { first: 0, count, start: monotonicNanoseconds(), interval: 1e4 };
}

Deno.test("Toucher times each touch of pages that hold what they should", async () => {
  using memory = MappedMemory.anonymous(64 * PAGE_BYTES);
  const words = new Int32Array(memory.bytes().buffer);
  const pattern = new TestPattern(PATTERN);
  for (let page = 0; page < 64; page++) pattern.expectedPage(page, words, page * 1024);
  const init = { share: ALONE, addresses: [memory.address], size: memory.length, pattern: PATTERN };
  using toucher = new Toucher(init);
  const { samples } = await toucher.follow(walkNow(63));
  assertEquals(samples.length, 63);
  assert(samples.every((waited) => waited > 0));
});

Deno.test("Toucher fails when a page holds something else", async () => {
  using memory = MappedMemory.anonymous(64 * PAGE_BYTES);
  const init = { share: ALONE, addresses: [memory.address], size: memory.length, pattern: PATTERN };
  using toucher = new Toucher(init);
  await assertRejects(
    () => toucher.follow(walkNow(63)),
    Error,
    `Wrong content in page ${pageAt(0, 1, 64)} of session 0: 0`,
  );
});

Deno.test("Toucher fails when a page does not come, and says which", async () => {
  // Stays mapped: the thread is let go at the end, and touches it then.
  const memory = MappedMemory.anonymous(64 * PAGE_BYTES);
  const init = { share: ALONE, addresses: [memory.address], size: memory.length, pattern: PATTERN };
  using toucher = new Toucher(init, 50);
  using uffd = new Userfaultfd();
  uffd.register(memory.address, memory.length, RegisterMode.MISSING);
  await assertRejects(() => toucher.follow(walkNow(63)), Error, "has not come within 0.05 s");
});
