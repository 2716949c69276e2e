/** Where a PC's memory lies, and how much of it is read. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { GuestMemory, type MemoryImage } from "../../image/hot/guest_memory.ts";
import { openImage } from "../../image/open_image.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { TestImage } from "../support/images.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** An image of which nothing is read. */
function unread(machine: string, blocks: Readonly<Record<string, number>>): MemoryImage {
  const sizes = Object.entries(blocks).map(([name, usedLength]) => ({ name, usedLength }));
  const layout = new RamLayout(sizes, 4096);
  const runs = [{ firstPage: 0, offset: 0 }];
  return {
    machine,
    layout,
    pages: { kind: "flat", imageAddress: 0, imageLength: 0, runs, pageSize: 4096 },
  };
}

Deno.test("GuestMemory knows where a PC's memory is above 4 GiB, and where none is", () => {
  // Machine, memory; of it below 4 GiB.
  const machines: [string, number, number][] = [
    ["pc-q35-7.2", 512 * MIB, 512 * MIB],
    ["pc-q35-11.1", 2815 * MIB, 2815 * MIB],
    ["pc-q35-11.1", 2816 * MIB, 2 * GIB],
    ["pc-q35-rhel9.2.0", 8 * GIB, 2 * GIB],
    ["pc-i440fx-7.2", 3583 * MIB, 3583 * MIB],
    ["pc-i440fx-7.2", 3584 * MIB, 3 * GIB],
    ["pc-i440fx-jammy", 8 * GIB, 3 * GIB],
    ["microvm", 2 * GIB, 2 * GIB],
    ["microvm", 4 * GIB, 3 * GIB],
  ];
  for (const [machine, size, below] of machines) {
    const image = unread(machine, { "vga.vram": 16 * MIB, "pc.ram": size });
    const { firstPage } = image.layout.find("pc.ram")!;
    const memory = GuestMemory.of(image, Infinity)!;
    const pages = [0, below - 1, below, 4 * GIB - 1].map((address) => memory.pageAt(address));
    assertEquals(pages, [firstPage, firstPage + below / 4096 - 1, -1, -1], machine);
    const end = 4 * GIB + size - below;
    const first = firstPage + below / 4096;
    const last = firstPage + size / 4096 - 1;
    const above = [4 * GIB, end - 1, end].map((address) => memory.pageAt(address));
    assertEquals(above, size > below ? [first, last, -1] : [-1, -1, -1], machine);
    for (const address of [-1, NaN, Infinity, 2 ** 53]) assertEquals(memory.pageAt(address), -1);
  }
});

Deno.test("GuestMemory is a PC's, in the one block that it must be", () => {
  const of = (machine: string, blocks: Readonly<Record<string, number>>, pageSize = 4096) => {
    const sizes = Object.entries(blocks).map(([name, usedLength]) => ({ name, usedLength }));
    const layout = new RamLayout(sizes, pageSize);
    return GuestMemory.of({ ...unread(machine, blocks), layout }, Infinity);
  };
  assertEquals(of("virt-9.0", { "mach-virt.ram": GIB }), undefined);
  assertEquals(of("postcopy-workload-1", { ram: GIB }), undefined);
  assertEquals(of("pc-q35-9.0", { "pc.ram": GIB }, 65536), undefined);
  // Of two nodes nobody knows which comes first.
  assertEquals(of("pc-q35-9.0", { node0: GIB, node1: GIB }), undefined);
  const named = of("pc-q35-9.0", { "vga.vram": 16 * MIB, "/objects/memory": GIB })!;
  assertEquals(named.pageAt(0), 16 * MIB / 4096);
});

Deno.test("GuestMemory reads an image, each page once, and no more than it may", async () => {
  using file = await TestImage.make({ "vga.vram": 4, "pc.ram": 64 }, { machine: "pc-q35-9.0" });
  using image = await openImage(file.path);
  const memory = GuestMemory.of(image, 2)!;
  const content = file.memory.get("pc.ram")!;
  const bytes = memory.read(5 * 4096 + 17)!;
  assertEquals(new Uint8Array(bytes.buffer), content.slice(5 * 4096, 6 * 4096));
  assertEquals(memory.read(5 * 4096), bytes);
  assertEquals(memory.read(64 * 4096), undefined);
  assertEquals(memory.spent, false);
  const last = memory.read(63 * 4096)!;
  assertEquals(new Uint8Array(last.buffer), content.slice(63 * 4096));
  assertEquals([memory.spent, memory.read(0), memory.read(5 * 4096)], [true, undefined, bytes]);
  const late = GuestMemory.of(image, 2)!;
  late.endAt(performance.now());
  assertEquals([late.spent, late.read(0)], [true, undefined]);
});

Deno.test("GuestMemory reads nothing of an image that was cut short meanwhile", async () => {
  using file = await TestImage.make({ "pc.ram": 64 }, { machine: "pc-q35-9.0" });
  using image = await openImage(file.path);
  const memory = GuestMemory.of(image, Infinity)!;
  await Deno.truncate(file.path, 8 * 4096);
  assertEquals(memory.read(20 * 4096), undefined);
});
