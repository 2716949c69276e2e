import { assert, assertEquals } from "@std/assert";
import { ReceivedBitmaps } from "../../client/return_path/received_bitmaps.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { ReturnPathDecoder } from "../../migration/protocol/return_path_decoder.ts";
import { RECOVERIES } from "../support/recorded.ts";
import { readRecording } from "../support/fixtures.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;

interface Answer {
  readonly block: string;
  readonly bytes: Uint8Array;
}

/** Decodes bitmaps, each in one piece. */
class Bitmaps {
  readonly answers: Answer[] = [];
  ends = 0;
  readonly #decoder: ReturnPathDecoder;

  constructor() {
    let filled = 0;
    const ignore = () => {};
    this.#decoder = new ReturnPathDecoder({
      shut: ignore,
      pong: ignore,
      requestPages: ignore,
      receivedBitmap: (block, size) => {
        this.answers.push({ block, bytes: new Uint8Array(size) });
        filled = 0;
      },
      receivedBitmapData: (bytes, at, length) => {
        this.answers.at(-1)!.bytes.set(bytes.subarray(at, at + length), filled);
        filled += length;
      },
      receivedBitmapEnd: () => void this.ends++,
      resumeAck: ignore,
      switchoverAck: ignore,
      extensions: ignore,
    });
  }

  feed(bytes: Uint8Array): this {
    this.#decoder.feed(bytes);
    return this;
  }
}

Deno.test("ReceivedBitmaps encodes each block's bits alone, whatever its size, in pieces", () => {
  const random = new Random(41);
  const counts = [1, 7, 8, 31, 32, 33, 63, 64, 65, 100, 256 * 1024, 256 * 1024 + 1, 600_000];
  const layout = new RamLayout(
    counts.map((count, index) => ({ name: `block ${index}`, usedLength: count * PAGE })),
    PAGE,
  );
  const received = new PageBitmap(layout.pageLimit);
  for (const { firstPage, pageCount } of layout.blocks) {
    for (let page = 0; page < pageCount; page++) {
      if (random.oneIn(2)) received.add(firstPage + page);
    }
  }
  const bitmaps = new ReceivedBitmaps(layout, received);
  const order = counts.map((_, index) => index).reverse();
  for (const index of order) bitmaps.want(index);
  const heard = new Bitmaps();
  while (bitmaps.pending) {
    const piece = bitmaps.next();
    assert(piece.length < 33 * 1024);
    heard.feed(piece);
  }
  assertEquals(heard.answers.map(({ block }) => block), order.map((index) => `block ${index}`));
  assertEquals(heard.ends, counts.length);
  heard.answers.forEach(({ bytes }, at) => {
    const { firstPage, pageCount } = layout.blocks[order[at]!]!;
    assertEquals(bytes.length, Math.ceil(Math.ceil(pageCount / 8) / 8) * 8);
    const expected = new Uint8Array(bytes.length);
    for (let page = 0; page < pageCount; page++) {
      if (received.has(firstPage + page)) expected[page >> 3]! |= 1 << (page & 7);
    }
    assert(bytes.every((byte, index) => byte === expected[index]), `${pageCount} pages`);
  });
});

Deno.test("ReceivedBitmaps forgets the rest of an answer whose connection is gone", () => {
  const layout = new RamLayout([{ name: "ram", usedLength: 300_000 * PAGE }], PAGE);
  const bitmaps = new ReceivedBitmaps(layout, new PageBitmap(layout.pageLimit));
  bitmaps.want(0);
  bitmaps.next();
  assertEquals(bitmaps.pending, true);
  bitmaps.clear();
  assertEquals([bitmaps.pending, bitmaps.next().length], [false, 0]);
  bitmaps.want(0);
  const heard = new Bitmaps();
  while (bitmaps.pending) heard.feed(bitmaps.next());
  assertEquals([heard.answers.length, heard.ends], [1, 1]);
});

for (const directory of RECOVERIES) {
  const path = `${directory}/conn2.d2s.zst`;
  testUnless(
    needsRecording(path),
    `ReceivedBitmaps encodes byte for byte what QEMU answered in ${directory}`,
    () => {
      const recorded = new Uint8Array(readRecording(path));
      const { answers } = new Bitmaps().feed(recorded);
      assert(answers.length > 1);
      // The sizes are rounded up: the bits behind a block are 0 in QEMU's as well.
      const layout = new RamLayout(
        answers.map(({ block, bytes }) => ({ name: block, usedLength: bytes.length * 8 * PAGE })),
        PAGE,
      );
      const received = new PageBitmap(layout.pageLimit);
      answers.forEach(({ bytes }, index) => {
        const { firstPage } = layout.blocks[index]!;
        for (let page = 0; page < bytes.length * 8; page++) {
          if ((bytes[page >> 3]! >> (page & 7)) & 1) received.add(firstPage + page);
        }
      });
      const bitmaps = new ReceivedBitmaps(layout, received);
      answers.forEach((_, index) => bitmaps.want(index));
      let at = 0;
      while (bitmaps.pending) {
        const piece = bitmaps.next();
        assertEquals(piece, recorded.slice(at, at + piece.length));
        at += piece.length;
      }
      assertEquals(recorded.slice(at, at + 8), Uint8Array.of(0, 6, 0, 4, 0, 0, 0, 1));
    },
  );
}
