import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { constants, crc32, deflateSync, zstdCompressSync } from "node:zlib";
import {
  GUEST_SHARES,
  guestPage,
  type GuestPageKind,
  guestPageKind,
  guestSharesText,
  PAGES_IN_MIX,
  PAGES_IN_RUN,
} from "../../bench/support/guest_content.ts";
import { writeGuestFile } from "../../bench/support/guest_file.ts";

const KINDS = Object.keys(GUEST_SHARES) as GuestPageKind[];
const words = new Int32Array(1024);
const bytes = new Uint8Array(words.buffer);

/** The first pages of a kind. */
function* pagesOf(kind: GuestPageKind, count: number, seed = 7): Generator<number> {
  for (let page = 0; count > 0; page++) {
    if (guestPageKind(page, seed) !== kind) continue;
    count--;
    yield page;
  }
}

Deno.test("guestPageKind gives every kind its share of each mix, whatever the seed", () => {
  for (let round = 0; round < 50; round++) {
    const first = round * PAGES_IN_MIX;
    const kinds = Array.from(
      { length: PAGES_IN_MIX },
      (_, index) => guestPageKind(first + index, round % 5),
    );
    for (const kind of KINDS) {
      const pages = kinds.filter((each) => each === kind).length;
      assertEquals(pages / PAGES_IN_MIX * 100, GUEST_SHARES[kind]);
    }
  }
});

Deno.test("guestPageKind orders the runs differently from mix to mix and from seed to seed", () => {
  const orders = new Set<string>();
  for (let mix = 0; mix < 20; mix++) {
    for (const seed of [1, 2]) {
      const runs = Array.from(
        { length: PAGES_IN_MIX / PAGES_IN_RUN },
        (_, run) => guestPageKind(mix * PAGES_IN_MIX + run * PAGES_IN_RUN, seed),
      );
      orders.add(runs.join());
    }
  }
  assertGreater(orders.size, 10);
});

Deno.test("guestPage writes a page in its place and nothing beside it", () => {
  for (const kind of KINDS) {
    for (const page of pagesOf(kind, 40)) {
      const room = new Int32Array(3 * 1024).fill(0x5a5a_5a5a);
      guestPage(page, 7, room, 1024);
      guestPage(page, 7, words);
      assertEquals(Buffer.compare(bytes, new Uint8Array(room.buffer, 4096, 4096)), 0);
      for (const beside of [room.subarray(0, 1024), room.subarray(2048)]) {
        assert(beside.every((word) => word === 0x5a5a_5a5a));
      }
      assertEquals(words.every((word) => word === 0), kind === "zero");
    }
  }
});

Deno.test("guestPage makes a page of its number and seed alone", () => {
  const pages = 2 * PAGES_IN_MIX;
  const crcs = (seed: number, order: readonly number[]): Map<number, number> =>
    new Map(order.map((page) => {
      guestPage(page, seed, words);
      return [page, crc32(bytes)];
    }));
  const ascending = Array.from({ length: pages }, (_, page) => page);
  const there = crcs(3, ascending);
  const back = crcs(3, ascending.toReversed());
  assertEquals(there, back);
  const data = ascending.filter((page) => guestPageKind(page, 3) !== "zero");
  assertEquals(new Set(data.map((page) => there.get(page))).size, data.length);
  const other = crcs(4, ascending);
  for (const page of data) assert(there.get(page) !== other.get(page));
});

Deno.test("guestPage makes the content that benchmarks were run with", () => {
  let sum = 0;
  for (let page = 0; page < PAGES_IN_MIX; page++) {
    guestPage(page, 1, words);
    sum = crc32(bytes, sum);
  }
  // A change of the content makes figures of before and after incomparable: say so in the changelog.
  assertEquals(sum, 0x4344_cd9a);
});

Deno.test("guestPage fills pages of text with lines of printable characters", () => {
  for (const page of pagesOf("text", 100)) {
    guestPage(page, 7, words);
    assert(bytes.every((byte) => byte === 0x0a || (byte >= 0x20 && byte < 0x7f)));
    assert(bytes.includes(0x0a));
  }
});

/** How much smaller than its 4096 bytes a page of each kind gets, at least and at most. */
const RATIOS: Readonly<Record<GuestPageKind, readonly [least: number, most: number]>> = {
  zero: [50, Infinity],
  text: [2.5, 4],
  structures: [4, 8],
  code: [1.6, 2.2],
  random: [0.99, 1.01],
};

for (const kind of KINDS) {
  Deno.test(`guestPage makes pages of kind ${kind} that compress as a guest's do`, () => {
    const pages = 300;
    const level = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
    let deflated = 0;
    let zstd = 0;
    for (const page of pagesOf(kind, pages)) {
      guestPage(page, 7, words);
      deflated += deflateSync(bytes, { level: 3 }).length;
      zstd += zstdCompressSync(bytes, level).length;
    }
    const [least, most] = RATIOS[kind];
    for (const size of [deflated, zstd]) {
      const ratio = pages * 4096 / size;
      assertGreater(ratio, least);
      assertLess(ratio, most);
    }
  });
}

Deno.test("guestSharesText tells the shares, which are of a hundred", () => {
  assertEquals(guestSharesText(), "zero 40 %, text 20 %, structures 20 %, code 10 %, random 10 %");
  assertEquals(Object.values(GUEST_SHARES).reduce((sum, share) => sum + share, 0), 100);
});

Deno.test("writeGuestFile writes every page, and leaves holes where they are zero", async () => {
  const path = await Deno.makeTempFile();
  try {
    // Not whole runs; and over a file that is longer and has no zeros.
    const pages = 4 * PAGES_IN_MIX + PAGES_IN_RUN + 3;
    await Deno.writeFile(path, new Uint8Array((pages + 5) * 4096).fill(1));
    const written = writeGuestFile(path, pages * 4096, 7);
    const file = await Deno.readFile(path);
    assertEquals([written.bytes, file.length], [pages * 4096, pages * 4096]);
    let data = 0;
    for (let page = 0; page < pages; page++) {
      guestPage(page, 7, words);
      if (guestPageKind(page, 7) !== "zero") data += 4096;
      const found = file.subarray(page * 4096, (page + 1) * 4096);
      assertEquals(Buffer.compare(bytes, found), 0, `Page ${page}`);
    }
    assertEquals(written.data, data);
    const { blocks } = await Deno.stat(path);
    assertLess(blocks! * 512, data + 65_536); // blocks of 512 bytes, and what the file system adds
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("writeGuestFile refuses a size that is no number of pages", () => {
  for (const size of [0, -4096, 5000, NaN]) {
    assertThrows(() => writeGuestFile("/nowhere/memory", size, 1), RangeError, `4096: ${size}`);
  }
});
