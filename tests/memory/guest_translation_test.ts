import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { GuestMemoryError } from "../../migration/address_space/guest_memory_error.ts";
import { GuestTranslation } from "../../migration/address_space/guest_translation.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { RamAddresses } from "../../migration/address_space/ram_addresses.ts";
import { Random } from "../support/random.ts";

const block = (name: string, address: number, length: number): GuestBlock => ({
  name,
  address,
  length,
  fd: -1,
  pageSize: 4096,
});

/** Where the blocks would be mapped: nothing here touches them. */
const A = 0x7f00_0000_0000;
const B = 0x7e00_0000_0000;

function machine() {
  const core = new MemoryCore({ debug: true });
  const system = MemoryRegion.container(core, "system", 2 ** 40);
  const space = new AddressSpace(core, "memory", system);
  const ram = new RamAddresses([block("a", A, 0x100000), block("b", B, 0x100000)]);
  const region = (name: string, size: number, offset = 0) =>
    MemoryRegion.ram(core, name, size, { block: name, offset });
  const io = (size: number) => MemoryRegion.io(core, "device", size);
  return { core, system, space, ram, region, io, translation: new GuestTranslation(space, ram) };
}

Deno.test("GuestTranslation finds block, offset and host address of guest-physical addresses", () => {
  const { system, translation, region } = machine();
  system.add(region("a", 0x10000, 0x2000), 0x40000);
  system.add(region("b", 0x10000), 2 ** 32);
  assertEquals(translation.hostAddress(0x40010), A + 0x2010);
  assertEquals(translation.blockIndex(0x40010), 0);
  assertEquals(translation.blockOffset(0x40010), 0x2010);
  assertEquals(translation.hostAddress(2 ** 32 + 0xffff), B + 0xffff);
  assertEquals(translation.blockIndex(2 ** 32), 1);
  assertEquals(translation.contiguous(0x40010), 0xfff0);
});

Deno.test("GuestTranslation finds nothing before, between and behind RAM, nor where a device is", () => {
  const { system, translation, region, io } = machine();
  system.add(region("a", 0x10000), 0x40000);
  system.add(io(0x100), 0x48000, 1);
  for (const address of [0, 0x3ffff, 0x48000, 0x480ff, 0x50000, 2 ** 39]) {
    assertEquals(translation.hostAddress(address), -1);
    assertEquals(translation.blockIndex(address), -1);
    assertEquals(translation.blockOffset(address), -1);
    assertEquals(translation.contiguous(address), 0);
  }
  assertEquals(translation.hostAddress(0x48100), A + 0x8100);
});

Deno.test("GuestTranslation.guestAddress finds the lowest address that shows a byte", () => {
  const { core, system, translation, region, ram } = machine();
  const memory = region("a", 0x10000);
  system.add(memory, 0x80000);
  assertEquals(translation.guestAddress(A + 0x1234), 0x81234);
  const low = MemoryRegion.alias(core, "low", memory, 0x1000, 0x1000);
  system.add(low, 0x20000);
  system.add(MemoryRegion.alias(core, "high", memory, 0, 0x10000), 0x200000);
  assertEquals(translation.guestAddress(A + 0xfff), 0x80fff);
  assertEquals(translation.guestAddress(A + 0x1234), 0x20234);
  assertEquals(translation.guestAddress(A + 0x2000), 0x82000);
  system.remove(low);
  assertEquals(translation.guestAddress(A + 0x1234), 0x81234);
  for (const host of [A - 1, A + 0x10000, B, 0, 2 ** 47]) {
    assertEquals(translation.guestAddress(host), -1);
  }
  assertEquals([A, A - 1, A + 0xfffff, A + 0x100000, B].map((host) => ram.blockAt(host)), [
    0,
    -1,
    0,
    -1,
    1,
  ]);
});

Deno.test("GuestTranslation.hostRange takes regions for one piece whose memory continues", () => {
  const { core, system, translation, region } = machine();
  const memory = region("a", 0x20000);
  system.add(MemoryRegion.alias(core, "low", memory, 0, 0x10000), 0x10000);
  system.add(region("a", 0x10000, 0x10000), 0x20000);
  assertEquals(translation.hostRange(0x10000, 0x20000), A);
  assertEquals(translation.contiguous(0x10010), 0x1fff0);
});

Deno.test("GuestTranslation.hostRange says where a piece crosses to other RAM, a device or nothing", () => {
  const { system, translation, region, io } = machine();
  system.add(region("a", 0x1000), 0x10000);
  system.add(region("b", 0x1000), 0x11000);
  system.add(io(0x100), 0x12000);
  assertEquals(translation.hostRange(0x10ff0, 0x10), A + 0xff0);
  const messages = [[0x10ff0, 0x11], [0x11ff0, 0x20]].map(([address, length]) => {
    const error = assertThrows(() => translation.hostRange(address!, length!), GuestMemoryError);
    assertEquals([error.code, error.address], ["CROSSES_RANGES", address]);
    return error.message;
  });
  assertEquals(messages, [
    "Guest memory of 17 bytes at 0x10ff0 crosses from a 0x10000 to 0x10fff to b 0x11000 to 0x11fff " +
    "at 0x11000: take it in pieces",
    "Guest memory of 32 bytes at 0x11ff0 crosses from b 0x11000 to 0x11fff to device 0x12000 to " +
    "0x120ff at 0x12000: take it in pieces",
  ]);
  // What continues in the block is one piece, of which the last region is named.
  system.add(region("a", 0x1000, 0x3000), 0x1f000);
  system.add(region("a", 0x1000, 0x4000), 0x20000);
  assertStringIncludes(
    assertThrows(() => translation.hostRange(0x1f000, 0x2001), GuestMemoryError).message,
    "crosses from a 0x20000 to 0x20fff to nothing at 0x21000",
  );
});

Deno.test("GuestTranslation.hostRange says what is there instead of RAM", () => {
  const { system, translation, io } = machine();
  system.add(io(0x100), 0x10000);
  const device = assertThrows(() => translation.hostRange(0x10010, 8), GuestMemoryError);
  assertEquals(device.code, "NOT_RAM");
  assertEquals(
    device.message,
    "No RAM at 0x10010 of address space memory: device 0x10000 to 0x100ff is there",
  );
  assertStringIncludes(
    assertThrows(() => translation.hostRange(0x20000, 8), GuestMemoryError).message,
    "nothing is there",
  );
});

Deno.test("GuestTranslation commits what is pending before it answers, inside of a transaction", () => {
  const { core, system, translation, region } = machine();
  const memory = region("a", 0x1000);
  core.transaction(() => {
    system.add(memory, 0x10000);
    assertEquals(translation.hostAddress(0x10000), A);
    memory.address = 0x20000;
    assertEquals([translation.hostAddress(0x10000), translation.guestAddress(A)], [-1, 0x20000]);
    translation.hostAddress(0x10000);
  });
  assertEquals(core.statistics.forced, 2);
});

Deno.test("GuestTranslation is up to date for a listener that was added before it", () => {
  const { space, system, ram, region } = machine();
  const found: number[] = [];
  space.addListener({ regionAdd: ({ start }) => found.push(later.hostAddress(start)) });
  const later = new GuestTranslation(space, ram);
  system.add(region("a", 0x1000), 0x10000);
  assertEquals(found, [A]);
});

Deno.test("GuestTranslation reports RAM in no block in the commit that brings it, and does not find it", () => {
  const { system, translation, region } = machine();
  const past = assertThrows(
    () => system.add(region("a", 0x2000, 0xff000), 0x10000),
    GuestMemoryError,
  );
  assertEquals([past.code, past.address], ["PAST_BLOCK", 0x10000]);
  assertStringIncludes(past.message, "reaches past the 1048576 bytes of RAM block a: 8192 bytes");
  const unknown = assertThrows(() => system.add(region("rom", 0x1000), 0x20000), GuestMemoryError);
  assertEquals(unknown.code, "UNKNOWN_BLOCK");
  assertEquals([translation.hostAddress(0x10000), translation.hostAddress(0x20000)], [-1, -1]);
});

Deno.test("GuestTranslation shares the table of a view with address spaces that show the same", () => {
  const { core, system, space, ram, region } = machine();
  const bus = MemoryRegion.container(core, "bus", 2 ** 40);
  bus.add(MemoryRegion.alias(core, "all", system, 0, 2 ** 40), 0);
  using other = new AddressSpace(core, "device", bus);
  system.add(region("a", 0x1000), 0x10000);
  assertEquals(ram.tableOf(other.flatView()) === ram.tableOf(space.flatView()), true);
});

Deno.test("GuestTranslation reports nothing after close, which may be called twice", () => {
  const { system, space, ram, translation, region } = machine();
  translation.close();
  // Others listen now, on both sides in whatever order they are kept: they are not closed in its place.
  const others = [new GuestTranslation(space, ram), new GuestTranslation(space, ram)];
  translation.close();
  const unknown = region("rom", 0x1000);
  for (const other of others) {
    assertThrows(() => system.add(unknown, 0x20000));
    system.remove(unknown);
    other.close();
  }
  system.add(unknown, 0x20000);
});

Deno.test("GuestTranslation agrees with a look at every range of random machines, both ways", () => {
  const random = new Random(11);
  const { core, system, space, ram, translation } = machine();
  const regions: MemoryRegion[] = [];
  for (let round = 0; round < 400; round++) {
    core.transaction(() => {
      for (let changes = random.between(1, 3); changes > 0; changes--) {
        if (regions.length > 6) system.remove(regions.shift()!);
        const size = random.between(1, 60);
        const offset = random.below(100);
        const added = random.oneIn(5)
          ? MemoryRegion.io(core, "io", size)
          : MemoryRegion.ram(core, "ram", size, { block: random.pick(["a", "b"]), offset });
        system.add(added, random.below(200), random.below(3));
        regions.push(added);
      }
    });
    const hosts = new Map<number, number>();
    for (const range of space.flatView().ranges) {
      if (range.region.kind !== "ram") continue;
      const host = ram.hostAddress(range);
      for (let at = 0; at < range.length; at++) hosts.set(range.start + at, host + at);
    }
    const guests = new Map<number, number>();
    for (const [guest, host] of hosts) {
      if (!(guests.get(host)! <= guest)) guests.set(host, guest);
    }
    for (let address = 0; address < 270; address++) {
      const host = hosts.get(address) ?? -1;
      assertEquals(translation.hostAddress(address), host);
      assertEquals(translation.blockIndex(address), host < 0 ? -1 : host < A ? 1 : 0);
      let length = 0;
      while (host >= 0 && hosts.get(address + length) === host + length) length++;
      assertEquals(translation.contiguous(address), length);
    }
    for (let offset = 0; offset < 170; offset++) {
      assertEquals(translation.guestAddress(A + offset), guests.get(A + offset) ?? -1);
      assertEquals(translation.guestAddress(B + offset), guests.get(B + offset) ?? -1);
    }
  }
});
