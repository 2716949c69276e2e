/** From linear to physical addresses, by tables of every form, also those that a guest has got wrong. */
import { assert, assertEquals } from "@std/assert";
import { type Paging, pagingOf, translate } from "../../image/hot/paging.ts";
import { Random } from "../support/random.ts";
import { MadeMemory } from "./made_memory.ts";

const PG = 1n << 31n;
const PSE = 1n << 4n;
const PAE = 1n << 5n;
const LA57 = 1n << 12n;
const LMA = 1n << 10n;
const ROOT = 0x1000;
const MIB = 2 ** 20;

const KINDS: readonly [string, Paging, readonly bigint[]][] = [
  ["two levels", { levels: 2, root: ROOT, large: true }, [0n, 0xc012_3456n, 0xffff_ffffn]],
  // Four entries that need not begin a page.
  ["PAE", { levels: 3, root: ROOT + 0x220, large: true }, [0n, 0xc012_3456n, 0xffff_ffffn]],
  ["four levels", { levels: 4, root: ROOT, large: true }, [
    0x40_0123n,
    0x7fff_ffff_ffffn,
    0xffff_8000_0000_0000n,
    0xffff_ffff_8100_0abcn,
  ]],
  ["five levels", { levels: 5, root: ROOT, large: true }, [
    0x40_0123n,
    0xff_ffff_ffff_ffffn,
    0xff00_0000_0000_0000n,
    0xffff_ffff_8100_0abcn,
  ]],
];

/** Translates, and returns the entries that were read, too. */
function walk(memory: MadeMemory, paging: Paging, linear: bigint): [number, number[]] {
  const entries: number[] = [];
  return [translate(memory, paging, linear, (address) => entries.push(address)), entries];
}

for (const [name, paging, addresses] of KINDS) {
  Deno.test(`translate finds pages of 4 KiB by ${name}, and tells the tables`, () => {
    for (const linear of addresses) {
      const memory = new MadeMemory();
      const wanted = memory.map(paging, linear, 0x7_5000);
      const offset = Number(BigInt.asUintN(12, linear));
      assertEquals(walk(memory, paging, linear), [0x7_5000 + offset, wanted]);
      assertEquals(walk(memory, paging, linear ^ 0x1000n)[0], -1);
    }
  });

  Deno.test(`translate finds large pages by ${name}`, () => {
    const sizes = {
      2: [4 * MIB],
      3: [2 * MIB],
      4: [2 * MIB, 1024 * MIB],
      5: [2 * MIB, 1024 * MIB],
    };
    for (const size of sizes[paging.levels as keyof typeof sizes]) {
      for (const linear of addresses) {
        const memory = new MadeMemory();
        const entries = memory.map(paging, linear, size, size);
        const offset = Number(linear % BigInt(size));
        assertEquals(walk(memory, paging, linear), [size + offset, entries]);
      }
    }
  });

  Deno.test(`translate ends where tables by ${name} lead in a circle`, () => {
    const memory = new MadeMemory();
    const root = paging.root - paging.root % 4096;
    for (let at = 0; at < 4096; at += 8) memory.write(root + at, BigInt(root) | 1n);
    if (paging.levels === 2) {
      for (let at = 0; at < 4096; at += 4) memory.page(1).setUint32(at, root | 1, true);
    }
    const [address, entries] = walk(memory, { ...paging }, addresses[1]!);
    assertEquals(entries.length, paging.levels);
    assertEquals(address - address % 4096, root);
  });

  Deno.test(`translate bears tables by ${name} of random bytes`, () => {
    const random = new Random(5);
    const memory = new MadeMemory(64);
    for (let page = 0; page < 64; page++) {
      const bytes = random.bytes(4096);
      // Addresses that are there, now and then, or it would never come far.
      for (let at = 0; at < 4096; at += 8) if (!random.oneIn(3)) bytes.fill(0, at + 2, at + 8);
      memory.pages.set(page, new DataView(bytes.buffer as ArrayBuffer));
    }
    let found = 0;
    for (let turn = 0; turn < 20_000; turn++) {
      const linear = BigInt(random.below(2 ** 53)) * BigInt(random.pick([1, 2048, 4096]));
      const root = random.below(64) * 4096;
      const [address, entries] = walk(memory, { ...paging, root }, linear);
      assert(entries.length <= paging.levels);
      assert(address === -1 || (Number.isSafeInteger(address) && address >= 0), `${address}`);
      if (address >= 0) found++;
    }
    assert(found > 0);
  });
}

Deno.test("translate takes bits of a table of two levels for an address above 4 GiB", () => {
  const memory = new MadeMemory();
  memory.page(1).setUint32(0, 0x40_0000 | 5 << 13 | 0x81, true);
  const paging: Paging = { levels: 2, root: ROOT, large: true };
  assertEquals(walk(memory, paging, 0x12_3456n)[0], 5 * 2 ** 32 + 0x40_0000 + 0x12_3456);
  // Without the bit in CR4 it is a table like any other.
  memory.page(1).setUint32(0, 0x2081, true);
  memory.page(2).setUint32(0x123 * 4, 0x7_5001, true);
  assertEquals(walk(memory, { ...paging, large: false }, 0x12_3456n)[0], 0x7_5456);
});

Deno.test("translate leaves alone what is not mapped, not there, or no address", () => {
  const paging: Paging = { levels: 4, root: ROOT, large: true };
  const memory = new MadeMemory();
  memory.map(paging, 0x40_0000n, 0x7_5000);
  for (const linear of [0n, 0x8000_0000_0000n, 0xfff_8000_0000_0000n]) {
    assertEquals(walk(memory, paging, linear)[0], -1);
  }
  assertEquals(walk(memory, { ...paging, root: 1e15 }, 0x40_0000n), [-1, []]);
  // Reserved: a page of 512 GiB.
  memory.write(ROOT, 0x81n);
  assertEquals(walk(memory, paging, 0n)[0], -1);
});

Deno.test("translate takes addresses as they are without paging", () => {
  const memory = new MadeMemory();
  const none: Paging = { levels: 0, root: 0, large: false };
  assertEquals(walk(memory, none, 0x7c00n), [0x7c00, []]);
  assertEquals(walk(memory, none, 0x1_0000_7c00n), [0x7c00, []]);
});

Deno.test("pagingOf tells the tables by the control registers", () => {
  const cr3 = 0x8000_0012_3456_7fe5n;
  const kinds: [bigint, bigint, bigint, Paging][] = [
    [0n, PAE, LMA, { levels: 0, root: 0, large: false }],
    [PG, 0n, 0n, { levels: 2, root: 0x3456_7000, large: false }],
    [PG, PSE, 0n, { levels: 2, root: 0x3456_7000, large: true }],
    [PG, PAE, 0n, { levels: 3, root: 0x3456_7fe0, large: false }],
    [PG, PAE, LMA, { levels: 4, root: 0x12_3456_7000, large: false }],
    [PG, PAE | LA57, LMA, { levels: 5, root: 0x12_3456_7000, large: false }],
    [PG, PAE | LA57, 0n, { levels: 3, root: 0x3456_7fe0, large: false }],
  ];
  for (const [cr0, cr4, efer, paging] of kinds) {
    assertEquals(pagingOf({ cr0, cr3, cr4, efer }), paging);
  }
});
