/** Whether an image fits a QEMU, by what that says of itself. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { checkFits, hugePagesAt } from "../../../daemon/qmp/fitting.ts";
import { MonitorError } from "../../../daemon/qmp/monitor_error.ts";
import { parseRamBlocks, type RamBlock } from "../../../daemon/qmp/ram_blocks.ts";

const MiB = 1 << 20;

/** As QEMU 11.1 writes it; 7.2 has no HVA and RO. */
const LIST = [
  "              Block Name    PSize              Offset               Used              Total                HVA  RO",
  "                  pc.ram    2 MiB  0x0000000000000000 0x0000000004000000 0x0000000004000000 0x00007f0000000000  rw",
  "                            4 KiB  0x0000000004100000 0x0000000000010000 0x0000000000010000 0x00007f0000000000  rw",
  "    /rom@etc/acpi/tables    4 KiB  0x0000000004200000 0x0000000000020000 0x0000000000200000 0x00007f0000000000  ro",
  "0000:00:01.0/vga.vram    4 KiB  0x0000000004300000 0x0000000001000000 0x0000000001000000",
  "",
].join("\r\n");

Deno.test("parseRamBlocks reads the blocks that have a name", () => {
  assertEquals(parseRamBlocks(LIST), [
    { name: "pc.ram", pageSize: 2 * MiB, used: 64 * MiB, total: 64 * MiB },
    { name: "/rom@etc/acpi/tables", pageSize: 4096, used: 0x20000, total: 0x200000 },
    { name: "0000:00:01.0/vga.vram", pageSize: 4096, used: 16 * MiB, total: 16 * MiB },
  ]);
});

for (const text of ["", "no list", "Block Name\npc.ram 4 KiB 0x0 0x1"]) {
  Deno.test(`parseRamBlocks finds none in: ${JSON.stringify(text)}`, () => {
    assertEquals(parseRamBlocks(text), []);
  });
}

const block = (name: string, used: number, total = used): RamBlock => ({
  name,
  pageSize: 4096,
  used,
  total,
});
const IMAGE = {
  path: "vm.img",
  machine: "pc-q35-7.2",
  blocks: [{ name: "pc.ram", usedLength: 64 * MiB }, { name: "/rom@a", usedLength: 0x2000 }],
};
const BLOCKS = [block("pc.ram", 64 * MiB), block("/rom@a", 0x1000, 0x4000)];

Deno.test("checkFits lets pass what QEMU would load", () => {
  checkFits(IMAGE, { machine: "pc-q35-7.2", blocks: BLOCKS });
  checkFits(IMAGE, { machine: undefined, blocks: [] }); // it does not say
  checkFits(IMAGE, { machine: "pc-q35-7.2", blocks: [BLOCKS[0]!, block("/rom@a", 0x4000)] });
});

const MISFITS: readonly [string, RegExp, { machine?: string; blocks?: RamBlock[] }][] = [
  [
    "another machine type",
    /machine type pc-q35-11\.1, the image pc-q35-7\.2: .*-machine pc-q35-7\.2$/,
    {
      machine: "pc-q35-11.1",
    },
  ],
  ["less memory", /has 32.*pc\.ram, the image 64/, {
    blocks: [block("pc.ram", 32 * MiB), BLOCKS[1]!],
  }],
  ["more memory", /has 128.*pc\.ram, the image 64/, {
    blocks: [block("pc.ram", 128 * MiB), BLOCKS[1]!],
  }],
  ["a block that cannot grow so far", /RAM block \/rom@a/, {
    blocks: [BLOCKS[0]!, block("/rom@a", 0x1000)],
  }],
  ["a block missing", /lacks a RAM block of the image: \/rom@a/, { blocks: [BLOCKS[0]!] }],
  ["a block too many", /RAM blocks that the image lacks, .*: vga\.vram:/, {
    blocks: [...BLOCKS, block("vga.vram", MiB)],
  }],
];

for (const [what, complaint, { machine = IMAGE.machine, blocks = BLOCKS }] of MISFITS) {
  Deno.test(`checkFits refuses a QEMU with ${what}`, () => {
    const error = assertThrows(() => checkFits(IMAGE, { machine, blocks }), MonitorError);
    assertEquals(error.code, "UNFIT");
    assertMatch(error.message, complaint);
    assertMatch(error.message, /nothing was changed there: start QEMU with/);
  });
}

Deno.test("hugePagesAt names the blocks in huge pages by their size, unless the user did", () => {
  const blocks = parseRamBlocks(LIST);
  const none = new Map();
  assertEquals(hugePagesAt(blocks, none), new Map([[2 * MiB, ["pc.ram"]]]));
  const said = new Map([[2 * MiB, ["mem0"]]]);
  assertEquals(hugePagesAt(blocks, said), said);
  assertEquals(hugePagesAt([{ ...block("arm", MiB), pageSize: 65_536 }], none), none);
  const gigantic = { ...block("pc.ram", 1 << 30), pageSize: 1 << 30 };
  assertEquals(hugePagesAt([gigantic], none), new Map([[1 << 30, ["pc.ram"]]]));
  const strange = [{ ...gigantic, pageSize: 1 << 25 }];
  assertThrows(() => hugePagesAt(strange, none), MonitorError, "use pages of 2 MiB or 1 GiB");
});
