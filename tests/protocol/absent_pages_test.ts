import { assertEquals, assertLess, assertThrows } from "@std/assert";
import {
  decodeAbsentPages,
  encodeAbsentPages,
  MAX_ABSENT_RUNS,
} from "../../migration/protocol/absent_pages.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import { nameAbsentPages } from "../../server/sending/absent_pages.ts";
import { Random } from "../support/random.ts";
import { randomRuns } from "./random_stream.ts";

const GIB_PAGES = 2 ** 18;

/** A bitmap of pages that are present, from their numbers. */
function present(length: number, has: (page: number) => boolean): PageBitmap {
  const bitmap = new PageBitmap(length);
  for (let page = 0; page < length; page++) if (has(page)) bitmap.add(page);
  return bitmap;
}

/** Names what is absent; returns the commands and the bytes, and what is left to be sent. */
function named(layout: RamLayout, held: PageBitmap) {
  const dirty = new PageBitmap(layout.pageLimit);
  for (const { firstPage, pageCount } of layout.blocks) dirty.fill(firstPage, pageCount);
  const commands: Command[] = [];
  const decoder = new StreamDecoder(
    new class extends IgnoreStream {
      override command(command: Command): void {
        commands.push(command);
      }
    }(),
  );
  const start = new StreamEncoder();
  start.header();
  decoder.feed(start.take());
  let bytes = 0;
  let longest = 0;
  for (const piece of nameAbsentPages(layout, held, dirty)) {
    decoder.feed(piece);
    bytes += piece.length;
    longest = Math.max(longest, piece.length);
  }
  return { commands, bytes, longest, dirty };
}

Deno.test("decodeAbsentPages gives the runs that were encoded", () => {
  const random = new Random(41);
  for (let round = 0; round < 500; round++) {
    const runs = randomRuns(random);
    const block = random.pick(["a", "pc.ram", "x".repeat(255)]);
    const before = random.below(9);
    const payload = encodeAbsentPages(block, runs);
    const bytes = new Uint8Array(before + payload.length + 3).fill(0xff);
    bytes.set(payload, before);
    assertEquals(decodeAbsentPages(bytes, before, payload.length, 0), { block, runs });
  }
});

Deno.test("encodeAbsentPages refuses what no command can say", () => {
  const most = Array.from({ length: 2 * MAX_ABSENT_RUNS }, () => 2 ** 34);
  for (let at = 2; at < most.length; at += 2) most[at] = most[at - 2]! + 2 ** 35;
  assertLess(encodeAbsentPages("x".repeat(255), most).length, 2 ** 16);
  const wrong = [[], [1], [-1, 1], [0, 0], [0, 2, 1, 1], [0.5, 1], [0, 2 ** 35], [2 ** 35, 1]];
  for (const runs of [...wrong, [...most, 2 ** 50, 1]]) {
    assertThrows(() => encodeAbsentPages("a", runs), RangeError, "Cannot encode");
  }
});

Deno.test("nameAbsentPages names a GiB that is not plugged in a few bytes", () => {
  const layout = new RamLayout([
    { name: "pc.ram", usedLength: 64 * 4096 },
    { name: "vmem0", usedLength: GIB_PAGES * 4096 },
  ]);
  const { commands, bytes, dirty } = named(layout, present(layout.pageLimit, (page) => page < 64));
  assertEquals(commands, [
    { kind: "extensions", names: ["absent-pages"] },
    { kind: "absent-pages", block: "vmem0", runs: [0, GIB_PAGES] },
  ]);
  assertLess(bytes, 50);
  assertEquals([dirty.count(), dirty.count(0, 64)], [64, 64]);
});

Deno.test("nameAbsentPages names exactly what is absent, and takes two bytes a page near others", () => {
  const layout = new RamLayout([
    { name: "odd", usedLength: 45 * 4096 }, // pages 45 to 63 are of no block
    { name: "ram", usedLength: 40_001 * 4096 },
  ]);
  const random = new Random(42);
  const shapes: ((page: number) => boolean)[] = [
    (page) => page % 2 === 0,
    (page) => page % 2 === 1,
    () => random.oneIn(40),
    () => !random.oneIn(40),
    () => false,
  ];
  for (const shape of shapes) {
    const held = present(layout.pageLimit, shape);
    const { commands, bytes, longest, dirty } = named(layout, held);
    const found = new PageBitmap(layout.pageLimit);
    let count = 0;
    for (const command of commands) {
      if (command.kind !== "absent-pages") continue;
      const { firstPage } = layout.find(command.block)!;
      for (let at = 0; at < command.runs.length; at += 2) {
        count += found.fill(firstPage + command.runs[at]!, command.runs[at + 1]!);
      }
    }
    for (const { firstPage, pageCount } of layout.blocks) {
      for (let page = firstPage; page < firstPage + pageCount; page++) {
        assertEquals([found.has(page), dirty.has(page)], [!held.has(page), held.has(page)]);
      }
    }
    assertLess(bytes, 2 * count + 200);
    assertLess(longest, 2 ** 16);
  }
});

Deno.test("nameAbsentPages names huge pages that are absent whole, and says nothing of an image that has all", () => {
  const layout = new RamLayout([{ name: "huge", usedLength: 5 * 512 * 4096, pageSize: 2 ** 21 }]);
  const held = present(layout.pageLimit, (page) => page === 0 || page === 1023);
  const { commands, dirty } = named(layout, held);
  assertEquals(commands.slice(1), [
    { kind: "absent-pages", block: "huge", runs: [2 * 512, 3 * 512] },
  ]);
  assertEquals(dirty.count(), 2 * 512);
  assertEquals(named(layout, present(layout.pageLimit, (page) => page % 512 === 7)).bytes, 0);
  assertEquals(named(layout, present(layout.pageLimit, () => true)).bytes, 0);
});
