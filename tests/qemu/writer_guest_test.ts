import { assert, assertEquals, assertThrows } from "@std/assert";
import { Qemu } from "../../qemu/qemu.ts";
import { whyNoQemu } from "../../qemu/qemu_binary.ts";
import {
  buildWriterSector,
  paceFor,
  parseWriterLine,
  slowWrites,
  writerMemoryMiB,
  type WriterReport,
} from "../../qemu/writer_guest.ts";
import { skipReason, testUnless } from "../support/skip.ts";

const reason = await whyNoQemu();
const skip = reason === undefined ? undefined : skipReason("missing package", reason);

Deno.test("buildWriterSector gives one sector that a BIOS boots", () => {
  const sector = buildWriterSector({ workingSet: 1 << 20, rate: 1000 });
  assertEquals(sector.length, 512);
  assertEquals([...sector.subarray(510)], [0x55, 0xaa]);
});

Deno.test("buildWriterSector refuses what the machine cannot do", () => {
  for (const workingSet of [0, 4097, 3 * 2 ** 30]) {
    assertThrows(() => buildWriterSector({ workingSet, rate: 0 }), RangeError, `${workingSet}`);
  }
  for (const rate of [-1, 5, NaN]) {
    assertThrows(() => buildWriterSector({ workingSet: 4096, rate }), RangeError, `${rate}`);
  }
});

Deno.test("paceFor comes within a thousandth of the rate", () => {
  for (const rate of [20, 999, 6104, 61_035, 457_764]) {
    const pace = paceFor(rate);
    assert(Math.abs(pace.rate / rate - 1) < 0.001, `${rate}: ${JSON.stringify(pace)}`);
    assert(pace.divisor <= 0xffff);
  }
});

Deno.test("paceFor lets a guest without a rate tick and write nothing", () => {
  assertEquals(paceFor(0), { divisor: 1193, perTick: 0, rate: 0 });
});

function report(slow: number, ...bins: [bin: number, count: number][]): WriterReport {
  const histogram = new Array<number>(32).fill(0);
  for (const [bin, count] of bins) histogram[bin] = count;
  return { ticks: 0, writes: 0, tsc: 0, longest: 0, slow, histogram };
}

Deno.test("slowWrites adds up the slow writes of several reports", () => {
  const reports = [report(1e6, [7, 100], [16, 5]), report(8e6, [7, 900], [16, 185], [20, 10])];
  assertEquals(slowWrites(reports), { count: 200, mean: 9e6 / 200, p99: 2 ** 21 });
});

Deno.test("slowWrites finds none where all were fast", () => {
  assertEquals(slowWrites([report(0, [7, 100], [14, 5])]), undefined);
});

Deno.test("parseWriterLine finds nothing in other lines", () => {
  for (const line of ["", "w 00000001", "round 00000001", "w"]) {
    assertEquals(parseWriterLine(line), undefined);
  }
});

testUnless(skip, "Writer guest fills its memory and writes its pages in every tick", async () => {
  const options = { workingSet: 16 << 20, rate: 3000 };
  await using qemu = await Qemu.start({
    bootSector: buildWriterSector(options),
    memoryMiB: writerMemoryMiB(options),
  });
  const isReport = (text: string): boolean => parseWriterLine(text) !== undefined;
  await qemu.serial.waitForLine("a report", isReport);
  await qemu.serial.waitForLine("another", isReport, { since: qemu.serial.lines.items.length });
  const reports = qemu.serial.lines.items.map(({ text }) => parseWriterLine(text))
    .filter((each) => each !== undefined);
  const [first, second] = reports;
  assertEquals(second!.ticks, first!.ticks);
  for (const { ticks, writes, histogram } of reports) {
    assertEquals(writes, ticks * 3);
    assertEquals(histogram.reduce((sum, count) => sum + count), writes);
  }
  for (const address of [0x200000, 0x200ffc, 0x11ff000, 0x11ffffc]) {
    const words = await qemu.monitor(`xp /1wx ${address}`);
    assert(!words.includes("0x00000000"), words);
  }
});
