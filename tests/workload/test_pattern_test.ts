import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { patternWord, TestPattern } from "../../migration/memory/test_pattern.ts";

Deno.test("TestPattern makes no two data pages equal", () => {
  const pattern = new TestPattern({ seed: 0xdead_beef, zeroEvery: 0 });
  const bases = new Set<number>();
  for (let page = 0; page < 1_000_000; page++) bases.add(pattern.base(page));
  assertEquals(bases.size, 1_000_000);
  assert(!bases.has(0));
});

Deno.test("TestPattern makes no two words of a data page equal", () => {
  const pattern = new TestPattern({ seed: 1, zeroEvery: 0 });
  const page = new Int32Array(1024);
  for (const number of [0, 1, 77, 131_071]) {
    pattern.expectedPage(number, page);
    assertEquals(new Set(page).size, 1024);
  }
});

Deno.test("TestPattern makes one page in so many a zero page", () => {
  const pattern = new TestPattern({ seed: 3, zeroEvery: 4 });
  const zeros = Array.from({ length: 40_000 }, (_, page) => pattern.isZero(page)).filter(Boolean);
  assert(Math.abs(zeros.length - 10_000) < 300, `${zeros.length}`);
});

Deno.test("TestPattern.expectedPage writes the words that patternWord gives", () => {
  const pattern = new TestPattern({ seed: 9, zeroEvery: 3 });
  const words = new Int32Array(2048);
  for (let page = 0; page < 50; page++) {
    pattern.expectedPage(page, words, 1024);
    for (let index = 0; index < 1024; index++) {
      assertEquals(words[1024 + index], patternWord(pattern.base(page), index));
    }
  }
});

Deno.test("TestPattern depends on its seed", () => {
  const base = (seed: number): number => new TestPattern({ seed, zeroEvery: 0 }).base(5);
  assertNotEquals(base(1), base(2));
});

Deno.test("TestPattern refuses settings that cannot be", () => {
  assertThrows(() => new TestPattern({ seed: 2 ** 32, zeroEvery: 4 }), RangeError, "4294967296");
  assertThrows(() => new TestPattern({ seed: 0.5, zeroEvery: 4 }), RangeError, "0.5");
  assertThrows(() => new TestPattern({ seed: 1, zeroEvery: -1 }), RangeError, "-1");
});
