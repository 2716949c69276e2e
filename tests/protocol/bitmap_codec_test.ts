import { assertEquals } from "@std/assert";
import { bitmapBytes, bitmapFromWords, bitmapToWords } from "../../migration/protocol/mod.ts";
import { Random } from "../support/random.ts";

Deno.test("bitmapFromWords undoes bitmapToWords and clears bits behind the block", () => {
  const random = new Random(1);
  for (const pages of [1, 8, 31, 32, 33, 63, 64, 65, 1000]) {
    const bytes = new Uint8Array(bitmapBytes(pages));
    for (let page = 0; page < pages; page++) {
      if (random.oneIn(2)) bytes[page >>> 3]! |= 1 << (page & 7);
    }
    const words = new Uint32Array(bytes.length / 4 + 2);
    bitmapToWords(bytes, words, 1);
    for (let page = 0; page < pages; page++) {
      const bit = (words[1 + (page >>> 5)]! >>> (page & 31)) & 1;
      assertEquals(bit, (bytes[page >>> 3]! >>> (page & 7)) & 1);
    }
    words.fill(0xffff_ffff, 1 + Math.ceil(pages / 32));
    assertEquals(bitmapFromWords(words, pages, 1), bytes, `${pages} pages`);
  }
});

Deno.test("bitmapBytes rounds up to words of 64 bits", () => {
  assertEquals([1, 64, 65, 16384].map(bitmapBytes), [8, 8, 16, 0x800]);
});
