import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { crc32, deflateSync, zstdCompressSync } from "node:zlib";
import { patternWord, REPEATS, TestPattern } from "../../workload/test_pattern.ts";

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

Deno.test("TestPattern with a seed alone has the content that it always had", () => {
  const words = new Int32Array(1024);
  const pattern = new TestPattern({ seed: 1, zeroEvery: 4 });
  let sum = 0;
  for (let page = 0; page < 100; page++) {
    pattern.expectedPage(page, words);
    sum = crc32(new Uint8Array(words.buffer), sum);
  }
  // Of the first version of this pattern: images made with it are still right.
  assertEquals(sum, 0x7ee5_9f34);
});

Deno.test("TestPattern with repeats makes pages of one period of different words", () => {
  const words = new Int32Array(2048);
  for (const repeats of REPEATS) {
    const pattern = new TestPattern({ seed: 9, zeroEvery: 3, repeats });
    const period = 1024 / repeats;
    assertEquals(pattern.period, period);
    for (let page = 0; page < 50; page++) {
      pattern.expectedPage(page, words, 1024);
      const base = pattern.base(page);
      for (let index = 0; index < 1024; index++) {
        assertEquals(words[1024 + index], patternWord(base, index % period));
      }
      if (base !== 0) assertEquals(new Set(words.subarray(1024)).size, period);
    }
  }
});

Deno.test("TestPattern with repeats has pages that compress to about that part", () => {
  const words = new Int32Array(1024);
  const bytes = new Uint8Array(words.buffer);
  for (const repeats of REPEATS) {
    new TestPattern({ seed: 9, zeroEvery: 0, repeats }).expectedPage(3, words);
    for (const { length } of [deflateSync(bytes), zstdCompressSync(bytes)]) {
      assertGreater(length, 4000 / repeats);
      assertLess(length, 1.1 * 4096 / repeats + 90);
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
  for (const repeats of [0, -2, 0.5, 3, 128, NaN, Infinity]) {
    const make = (): TestPattern => new TestPattern({ seed: 1, zeroEvery: 4, repeats });
    assertThrows(make, RangeError, `so often: ${repeats}: use 1, 2, 4`);
  }
});
