/** What a guest touches first, known by its device state. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { knownHot, MOST_HOT } from "../../image/hot/known_hot.ts";
import type { Paging } from "../../image/hot/paging.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import type { Image } from "../../image/image.ts";
import { concat, deviceSection, PAGE, withDirectory } from "../image/captures.ts";
import { describing } from "../image/described_devices.ts";
import { readRecording } from "../support/fixtures.ts";
import { Random } from "../support/random.ts";
import { CAPTURES, MAPPED_CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { madeCapture, type MadeGuest, type MadeProcessor, processorSection } from "./made_guest.ts";
import { MadeMemory } from "./made_memory.ts";

const PAGES = 1024;
const ROOT = 0x3000;
const LONG = { cr0: 1n << 31n, cr3: BigInt(ROOT), cr4: 1n << 5n, efer: 1n << 10n };
const TABLES: Paging = { levels: 4, root: ROOT, large: true };
/** Nothing ends early, however slow the machine is. */
const UNHURRIED = { patience: Infinity };

async function withBytes(bytes: Uint8Array, use: (image: Image) => void): Promise<void> {
  await withDirectory(async (directory) => {
    await Deno.writeFile(`${directory}/image`, bytes);
    using image = await openImage(`${directory}/image`);
    use(image);
  });
}

/** Finds the hot pages of a guest: numbers in its memory, in order. */
async function hotOf(guest: MadeGuest): Promise<number[]> {
  let found: number[] = [];
  await withBytes(madeCapture(guest), (image) => {
    const { firstPage, pageCount } = image.layout.find("pc.ram")!;
    found = Array.from(knownHot(image, UNHURRIED), (page) => page - firstPage);
    assert(found.every((page) => page >= 0 && page < pageCount), `${found}`);
    assertEquals(new Set(found).size, found.length);
  });
  return found;
}

/** A long-mode kernel that waits: what it points to, and the pages where that lies. */
function waitingKernel(): { memory: MadeMemory; processor: MadeProcessor; pages: number[][] } {
  const memory = new MadeMemory(PAGES);
  const tables: number[] = [];
  const at = (page: number): bigint => 0xffff_ffff_8000_0000n + BigInt(page * PAGE);
  for (let page = 16; page < 128; page++) tables.push(...memory.map(TABLES, at(page), page * PAGE));
  // Descriptors of two interrupts, on one page, and what the task state and the stack hold.
  const handler = at(40) + 0x10n;
  for (const gate of [0, 32]) {
    const low = handler & 0xffffn | (handler >> 16n & 0xffffn) << 48n;
    memory.write(20 * PAGE + gate * 16, low);
    memory.write(20 * PAGE + gate * 16 + 8, handler >> 32n);
  }
  memory.page(22).setBigUint64(0x104, at(42) + 0x800n, true);
  memory.write(17 * PAGE + 0xf00, 0x1234n);
  memory.write(17 * PAGE + 0xf08, at(44) + 0x123n);
  memory.write(18 * PAGE, at(45)); // the stack goes on
  memory.write(24 * PAGE + 8, at(46));
  memory.write(46 * PAGE + 0x200, at(50)); // a step further
  memory.write(46 * PAGE + 0x800, at(52)); // too far away
  memory.write(50 * PAGE, at(54));
  const processor = {
    ...LONG,
    rip: at(16) + 0xfffn,
    rsp: at(17) + 0xf00n,
    registers: { 0: at(48), 3: 17n, 7: at(2000) },
    gdt: { base: at(21), limit: 127 },
    idt: { base: at(20), limit: 4095 },
    tr: { base: at(22) + 0x100n, limit: 103 },
    segments: { 5: { base: at(24) } },
    lstar: at(26),
    clock: BigInt(900 * PAGE + 64) | 1n,
  };
  const inTables = [...new Set(tables.map((address) => Math.floor(address / PAGE)))];
  return {
    memory,
    processor,
    pages: [inTables, [16, 17, 20, 21, 22, 24, 26], [900], [48, 40, 42, 44, 18, 45, 46, 25], [50]],
  };
}

Deno.test("knownHot finds what a processor points to, and what that points to, the surest first", async () => {
  const { memory, processor, pages: [tables, own, mailbox, near, far] } = waitingKernel();
  const found = await hotOf({ memory, pageCount: PAGES, processors: [processor] });
  const sure = [...tables!, ...own!].sort();
  assertEquals(found.slice(0, sure.length).sort(), sure);
  assertEquals(found.slice(sure.length, sure.length + 1), mailbox);
  const rest = found.slice(sure.length + 1);
  assertEquals(near!.filter((page) => !rest.includes(page)), []);
  // The stack that is looked through ends in the page behind.
  assertEquals(rest.filter((page) => !near!.includes(page)), [19, ...far!]);
});

Deno.test("knownHot finds what a processor without paging points to", async () => {
  const memory = new MadeMemory(PAGES);
  memory.page(9).setUint32(0x100, 77 * PAGE, true);
  const segments = { 1: { base: 0x1_0000n }, 2: { base: 0x8000n } };
  const processor = { rip: 0x7c00n, rsp: 0x1100n, segments, registers: { 1: 33n * 4096n } };
  const found = await hotOf({ memory, pageCount: PAGES, processors: [processor] });
  for (const page of [0x17, 9, 33]) assert(found.includes(page), `${page} in ${found}`);
  // What lies on its stack may be anything: no table says what is an address.
  assertEquals(found.includes(77), false);
});

Deno.test("knownHot looks at every processor, at what is sure of each first", async () => {
  const memory = new MadeMemory(PAGES);
  const processors = Array.from({ length: 4 }, (_, index) => ({
    rip: BigInt((100 + index) * PAGE),
    rsp: BigInt((200 + index) * PAGE),
    registers: { 2: BigInt((300 + index) * PAGE) },
  }));
  const found = await hotOf({ memory, pageCount: PAGES, processors });
  const places = [100, 203, 300, 303].map((page) => found.indexOf(page));
  assertEquals(places.map((place) => place >= 0), [true, true, true, true]);
  assert(places[1]! < places[2]!, `${found}`);
});

Deno.test("knownHot names a bounded number of pages, by whole huge pages", async () => {
  const memory = new MadeMemory(4096);
  for (let at = 0; at < 4096; at += 4) {
    memory.page(20).setUint32(at, (64 + at / 4 * 3) * PAGE, true);
    memory.page(21).setUint32(at, (65 + at / 4 * 3) * PAGE, true);
  }
  const paging: Paging = { levels: 2, root: ROOT, large: true };
  const large = 4 * 2 ** 20;
  for (let at = 0; at < 4096 * PAGE; at += large) memory.map(paging, BigInt(at), at, large);
  const control = { cr0: 1n << 31n, cr3: BigInt(ROOT), cr4: 1n << 4n };
  const processor = { ...control, rip: 0x7c00n, rsp: BigInt(20 * PAGE) };
  const capture = madeCapture({ memory, pageCount: 4096, processors: [processor] });
  await withBytes(capture, (opened) => {
    assertEquals(knownHot(opened, UNHURRIED).length, MOST_HOT);
    const image = withHugePages(opened, ["pc.ram"]);
    const { firstPage } = image.layout.find("pc.ram")!;
    const huge = Array.from(
      knownHot(image, UNHURRIED),
      (page) => Math.floor((page - firstPage) / 512),
    );
    assert(huge.length > 0 && new Set(huge).size <= MOST_HOT / 512, `${huge}`);
  });
});

Deno.test("knownHot finds what registers point to when it may take no time for more", async () => {
  const { memory, processor, pages: [tables, own, mailbox] } = waitingKernel();
  const capture = madeCapture({ memory, pageCount: PAGES, processors: [processor] });
  await withBytes(capture, (image) => {
    const { firstPage } = image.layout.find("pc.ram")!;
    const found = Array.from(knownHot(image, { patience: 0 }), (page) => page - firstPage);
    assertEquals(found.sort(), [...tables!, ...own!, ...mailbox!].sort());
  });
});

const SECTION = concat(processorSection({ rip: 0x7c00n }));
const ODD: readonly [string, Partial<MadeGuest>][] = [
  ["of another machine", { machine: "virt-9.0" }],
  ["without a processor", { processors: [], devices: deviceSection(3, "i8254", 3, SECTION) }],
  ["whose processor is not described", { description: describing() }],
  ["whose description is no JSON", { description: "{" }],
  ["whose description is of other fields", {
    description: describing({
      name: "cpu",
      instance_id: 0,
      version: 12,
      fields: [{ name: "env.regs", type: "buffer", size: SECTION.length - 22 }],
    }),
  }],
];
for (const [what, guest] of ODD) {
  Deno.test(`knownHot finds no page in a guest ${what}`, async () => {
    const { memory, processor } = waitingKernel();
    const found = await hotOf({ memory, pageCount: PAGES, processors: [processor], ...guest });
    assertEquals(found, []);
  });
}

Deno.test("knownHot bears processors of any state", async () => {
  const random = new Random(6);
  const memory = new MadeMemory(PAGES);
  for (let page = 0; page < PAGES; page++) {
    if (random.oneIn(2)) {
      memory.pages.set(page, new DataView(random.bytes(PAGE).buffer as ArrayBuffer));
    }
  }
  const address = (): bigint =>
    random.oneIn(3)
      ? BigInt.asUintN(64, BigInt(random.below(2 ** 53)) * -2049n)
      : BigInt(random.below(PAGES * PAGE));
  const extent = () => ({ base: address(), limit: random.u32() });
  for (let turn = 0; turn < 40; turn++) {
    const processors = Array.from({ length: random.between(1, 20) }, () => ({
      rip: address(),
      rsp: address(),
      registers: { 0: address(), 5: address() },
      cr0: BigInt(random.below(2)) << 31n,
      cr3: address(),
      cr4: BigInt(random.u32()),
      efer: BigInt(random.u32()),
      gdt: extent(),
      idt: extent(),
      tr: extent(),
      segments: { 1: extent(), 2: extent(), 4: extent(), 5: extent() },
      lstar: address(),
      kernelGsBase: address(),
      clock: address(),
    }));
    const found = await hotOf({ memory, pageCount: PAGES, processors });
    assert(found.length <= MOST_HOT);
  }
});

for (const capture of [...CAPTURES, ...MAPPED_CAPTURES]) {
  const { path } = capture;
  testUnless(
    needsRecording(path),
    `knownHot bears ${path}, of a processor before its first step`,
    async () => {
      await withBytes(readRecording(path), (image) => {
        // It begins in the BIOS, which is not in the memory: what is found is where its tables would begin,
        // unless that is a page of zeros that the image does not hold.
        const { firstPage } = image.layout.find("pc.ram")!;
        const isThere = !MAPPED_CAPTURES.includes(capture);
        assertEquals(knownHot(image, UNHURRIED).includes(firstPage), isThere);
      });
    },
  );
}
