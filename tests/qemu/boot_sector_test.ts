import { assertEquals, assertThrows } from "@std/assert";
import {
  buildBootSector,
  pageValue,
  parseRoundLine,
  workingSetPages,
} from "../../qemu/boot_sector.ts";

Deno.test("buildBootSector gives one sector that a BIOS boots", () => {
  const sector = buildBootSector();
  assertEquals(sector.length, 512);
  assertEquals([...sector.subarray(510)], [0x55, 0xaa]);
});

Deno.test("buildBootSector refuses a page that is not whole words", () => {
  assertThrows(() => buildBootSector({ bytesPerPage: 4098 }), RangeError, "4098");
  assertThrows(() => buildBootSector({ bytesPerPage: 6 }), RangeError, "6");
});

Deno.test("workingSetPages refuses what is no power of two", () => {
  assertEquals(workingSetPages({ workingSetMiB: 16 }), 4096);
  for (const workingSetMiB of [0, 3, 2048]) {
    assertThrows(() => workingSetPages({ workingSetMiB }), RangeError, `${workingSetMiB}`);
  }
});

Deno.test("pageValue differs between pages and between generations", () => {
  assertEquals(pageValue(0, 1), 1);
  assertEquals(pageValue(1, 1), 0x9e3779b2);
  assertEquals(pageValue(0xffff, 7), (0xffff * 0x9e3779b1 + 7) % 2 ** 32);
});

Deno.test("parseRoundLine reads the number of the round behind the dots", () => {
  assertEquals(parseRoundLine("...round 0000002A"), { round: 42 });
});

Deno.test("parseRoundLine reads the latencies", () => {
  const histogram = Array.from({ length: 32 }, (_, bin) => bin);
  const words = [1, 2, 3, 4, 5, ...histogram];
  const line = `round ${words.map((each) => each.toString(16).padStart(8, "0")).join(" ")}`;
  assertEquals(parseRoundLine(line.toUpperCase().replace("ROUND", "round")), {
    round: 1,
    latency: { tsc: 2 * 2 ** 32 + 3, sum: 4 * 2 ** 32 + 5, histogram },
  });
});

Deno.test("parseRoundLine finds no round in other lines", () => {
  for (const line of ["", "BAD page 00000001", "round", "round 2A", "round 0000002Around"]) {
    assertEquals(parseRoundLine(line), undefined);
  }
});
