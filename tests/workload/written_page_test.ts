import { assertEquals } from "@std/assert";
import { findDifference, writeSlot, writtenWord, wrongByte } from "../../workload/written_page.ts";
import { RandomNumbers } from "../../workload/page_order.ts";
import { TestPattern } from "../../migration/memory/test_pattern.ts";

const pattern = new TestPattern({ seed: 11, zeroEvery: 4 });
const random = new RandomNumbers(5);

/** A page as the guest leaves it after so many writes. */
function writtenPage(page: number, writes: number): Int32Array {
  const words = new Int32Array(1024);
  pattern.expectedPage(page, words);
  for (let count = 0; count < writes; count++) words[writeSlot(page, count)]!++;
  return words;
}

Deno.test("findDifference accepts a page after any number of writes", () => {
  for (const writes of [0, 1, 2, 1023, 1024, 1025, 5000]) {
    for (let page = 0; page < 20; page++) {
      const words = writtenPage(page, writes);
      assertEquals(findDifference(words, 0, pattern.base(page), page, writes), -1);
    }
  }
});

Deno.test("findDifference refuses a page with one write more or less than recorded", () => {
  for (let page = 0; page < 50; page++) {
    const writes = 1 + random.below(3000);
    const words = writtenPage(page, writes);
    const base = pattern.base(page);
    assertEquals(findDifference(words, 0, base, page, writes - 1), writeSlot(page, writes - 1));
    assertEquals(findDifference(words, 0, base, page, writes + 1), writeSlot(page, writes));
  }
});

Deno.test("findDifference and wrongByte find any flipped bit at its byte", () => {
  for (let round = 0; round < 2000; round++) {
    const page = random.below(131_072);
    const writes = random.below(2500);
    const words = writtenPage(page, writes);
    const bytes = new Uint8Array(words.buffer);
    const offset = random.below(4096);
    const expected = bytes[offset]!;
    const found = expected ^ (1 << random.below(8));
    bytes[offset] = found;
    const base = pattern.base(page);
    const index = findDifference(words, 0, base, page, writes);
    const wrong = wrongByte(page, index, writtenWord(base, page, index, writes), words[index]!);
    assertEquals(wrong, { page, offset, expected, found });
  }
});

Deno.test("findDifference refuses a page in another page's place", () => {
  const words = writtenPage(6, 0);
  for (let page = 0; page < 1000; page++) {
    if (page === 6 || (pattern.isZero(page) && pattern.isZero(6))) continue;
    assertEquals(findDifference(words, 0, pattern.base(page), page, 0), 0);
  }
});
