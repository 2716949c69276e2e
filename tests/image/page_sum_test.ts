import { assertEquals, assertNotEquals } from "@std/assert";
import { pageSum } from "../../pages/page_sum.ts";
import { Random } from "../support/random.ts";

/** A page between words that are not of it. */
function page(): { readonly words: Int32Array; readonly bytes: Uint8Array } {
  const bytes = new Random(31).bytes(3 * 4096);
  return { words: new Int32Array(bytes.buffer), bytes };
}

Deno.test("pageSum changes with every bit of a page, and with none beside it", () => {
  const { words, bytes } = page();
  const sum = pageSum(words, 1024);
  assertEquals(sum, pageSum(words.slice(1024, 2048), 0));
  for (let bit = 0; bit < bytes.length * 8; bit += 3) {
    bytes[bit >>> 3]! ^= 1 << (bit & 7);
    const inside = bit >= 4096 * 8 && bit < 2 * 4096 * 8;
    assertEquals(pageSum(words, 1024) !== sum, inside, `bit ${bit}`);
    bytes[bit >>> 3]! ^= 1 << (bit & 7);
  }
});

Deno.test("pageSum changes when the same bit of two words does, and when words change places", () => {
  const { words } = page();
  const sum = pageSum(words, 0);
  for (const other of [1, 2, 4, 8, 1020, 1023]) {
    for (let bit = 0; bit < 32; bit++) {
      words[0]! ^= 1 << bit;
      words[other]! ^= 1 << bit;
      assertNotEquals(pageSum(words, 0), sum, `bit ${bit} of words 0 and ${other}`);
      words[0]! ^= 1 << bit;
      words[other]! ^= 1 << bit;
    }
    [words[0], words[other]] = [words[other]!, words[0]!];
    assertNotEquals(pageSum(words, 0), sum, `words 0 and ${other}`);
    [words[0], words[other]] = [words[other]!, words[0]!];
  }
});

Deno.test("pageSum of a page cut short, zeroed or shifted is another", () => {
  const { words } = page();
  const sums = new Set([pageSum(words, 0), pageSum(new Int32Array(1024), 0)]);
  for (let at = 1; at < 1024; at++) {
    sums.add(pageSum(words, at));
    const cut = words.slice(0, 1024);
    cut.fill(0, at);
    sums.add(pageSum(cut, 0));
  }
  assertEquals(sums.size, 2 + 2 * 1023);
});
