import { assertEquals, assertLess } from "@std/assert";
import { deflateSync } from "node:zlib";
import { TestPattern } from "../../workload/test_pattern.ts";
import { RandomNumbers } from "../../workload/page_order.ts";
import { WrittenPattern, wrongByte } from "../../workload/written_page.ts";

const random = new RandomNumbers(5);

/** A pattern, its pages after writes, and what must be in them. */
class Pages {
  readonly pattern: TestPattern;
  readonly written: WrittenPattern;

  constructor(repeats: number) {
    const settings = { seed: 11, zeroEvery: 4, repeats };
    this.pattern = new TestPattern(settings);
    this.written = new WrittenPattern(settings);
  }

  /** A page as the guest leaves it after so many writes. */
  after(page: number, writes: number): Int32Array {
    const words = new Int32Array(1024);
    this.pattern.expectedPage(page, words);
    for (let count = 0; count < writes; count++) words[this.written.writeSlot(page, count)]!++;
    return words;
  }

  findDifference(words: Int32Array, page: number, writes: number): number {
    return this.written.findDifference(words, 0, page, writes);
  }
}

for (const repeats of [1, 2, 8, 64]) {
  const pages = new Pages(repeats);
  const title = (behaviour: string): string =>
    `WrittenPattern with words that repeat ${repeats} times ${behaviour}`;

  Deno.test(title("writes each word of a page once in 1024 writes"), () => {
    for (const page of [0, 6, 131_071]) {
      const slots = new Set<number>();
      for (let count = 500; count < 1524; count++) slots.add(pages.written.writeSlot(page, count));
      assertEquals([slots.size, Math.min(...slots), Math.max(...slots)], [1024, 0, 1023]);
    }
  });

  Deno.test(title("accepts a page after any number of writes"), () => {
    for (const writes of [0, 1, 2, 1023, 1024, 1025, 5000]) {
      for (let page = 0; page < 20; page++) {
        const words = pages.after(page, writes);
        assertEquals(pages.findDifference(words, page, writes), -1);
        for (const index of [0, 1, 15, 16, 511, 512, 1023]) {
          assertEquals(words[index], pages.written.word(page, index, writes));
        }
      }
    }
  });

  Deno.test(title("refuses a page with one write more or less than recorded"), () => {
    for (let page = 0; page < 50; page++) {
      const writes = 1 + random.below(3000);
      const words = pages.after(page, writes);
      const slots = [writes - 1, writes].map((count) => pages.written.writeSlot(page, count));
      assertEquals(pages.findDifference(words, page, writes - 1), slots[0]);
      assertEquals(pages.findDifference(words, page, writes + 1), slots[1]);
    }
  });

  Deno.test(title("finds any flipped bit at its byte"), () => {
    for (let round = 0; round < 2000; round++) {
      const page = random.below(131_072);
      const writes = random.below(2500);
      const words = pages.after(page, writes);
      const bytes = new Uint8Array(words.buffer);
      const offset = random.below(4096);
      const expected = bytes[offset]!;
      const found = expected ^ (1 << random.below(8));
      bytes[offset] = found;
      const index = pages.findDifference(words, page, writes);
      const right = pages.written.word(page, index, writes);
      const wrong = wrongByte(page, index, right, words[index]!);
      assertEquals(wrong, { page, offset, expected, found });
    }
  });

  Deno.test(title("refuses a page in another page's place"), () => {
    const words = pages.after(6, 0);
    for (let page = 0; page < 1000; page++) {
      if (page === 6 || (pages.pattern.isZero(page) && pages.pattern.isZero(6))) continue;
      assertEquals(pages.findDifference(words, page, 0), 0);
    }
  });

  Deno.test(title("refuses another page's content whatever was written to either"), () => {
    for (let round = 0; round < 2000; round++) {
      const [page, other] = [random.below(131_072), random.below(131_072)];
      if (page === other || (pages.pattern.isZero(page) && pages.pattern.isZero(other))) continue;
      const words = pages.after(other, random.below(2500));
      assertLess(-1, pages.findDifference(words, page, random.below(2500)));
    }
  });

  Deno.test(title("refuses a page torn between two versions"), () => {
    for (let round = 0; round < 500; round++) {
      const page = random.below(131_072);
      const before = random.below(2000);
      const words = pages.after(page, before);
      // The words of one version to somewhere between the changes, the other's behind.
      const writes = before + 2 + random.below(1000);
      const later = pages.after(page, writes);
      const changed = Array.from(later.keys()).filter((index) => words[index] !== later[index]);
      const tear = 1 + changed[random.below(changed.length - 1)]!;
      words.set(later.subarray(tear), tear);
      assertLess(-1, pages.findDifference(words, page, writes));
      assertLess(-1, pages.findDifference(words, page, before));
    }
  });
}

Deno.test("WrittenPattern leaves pages that compress as well as before the writes", () => {
  for (const repeats of [2, 4, 16, 64]) {
    const pages = new Pages(repeats);
    const page = pages.pattern.isZero(6) ? 7 : 6;
    for (let round = 0; round < 50; round++) {
      const bytes = new Uint8Array(pages.after(page, random.below(3000)).buffer);
      // The differing words, and up to some 80 bytes for what is the same.
      assertLess(deflateSync(bytes).length, 1.1 * 4096 / repeats + 90);
    }
  }
});
