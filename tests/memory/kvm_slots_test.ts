import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { KvmMachine } from "../../ffi/kvm.ts";
import { KvmSlots, type KvmSlotsOptions } from "../../client/memory/kvm_slots.ts";
import { GuestMemoryError } from "../../migration/address_space/guest_memory_error.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { KvmProcessor, needsKvm } from "./kvm_processor.ts";
import { type BlockSizes, MappedMachine, PAGE } from "./mapped_machine.ts";

/** A machine whose processor sees its RAM. */
class Machine extends MappedMachine {
  readonly kvm = new KvmMachine();
  readonly processor = new KvmProcessor(this.kvm);
  readonly slots: KvmSlots;
  readonly remove: () => void;

  constructor(sizes: BlockSizes = { ram: 16 * PAGE }, options?: KvmSlotsOptions) {
    super(sizes);
    for (const memory of this.memories) {
      const bytes = memory.bytes();
      for (let at = 0; at < bytes.length; at += PAGE) bytes[at] = 1 + at / PAGE;
    }
    this.slots = new KvmSlots(this.kvm, this.ram, options);
    this.remove = this.space.addListener(this.slots);
  }

  /** What the processor reads at each address; undefined where its read left the guest. */
  reads(...addresses: number[]): (number | undefined)[] {
    return addresses.map((address) => this.processor.read(address));
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.processor[Symbol.dispose]();
    this.kvm.close();
  }
}

const none = needsKvm();

function test(name: string, run: () => void): void {
  testUnless(
    none,
    name,
    leavingNoDescriptors(() => {
      run();
      return Promise.resolve();
    }),
  );
}

test("KvmSlots lets the processor read and write the RAM that the view shows", () => {
  using machine = new Machine();
  machine.system.add(machine.region("ram", 8 * PAGE, 2 * PAGE), 0x10000);
  assertEquals(machine.reads(0x10000, 0x17000, 0x18000, 0xf000), [3, 10, undefined, undefined]);
  assertEquals(machine.processor.write(0x11002, 0xabcd), true);
  assertEquals([...machine.memories[0]!.bytes(3 * PAGE, 4)], [4, 0, 0xcd, 0xab]);
  assertEquals(machine.processor.write(0x18000, 1), false);
});

test("KvmSlots follows a region that is disabled, enabled and moved", () => {
  using machine = new Machine();
  const region = machine.region("ram", PAGE);
  machine.system.add(region, 0x10000);
  assertEquals(machine.reads(0x10000), [1]);
  region.enabled = false;
  assertEquals(machine.reads(0x10000), [undefined]);
  region.enabled = true;
  assertEquals(machine.reads(0x10000), [1]);
  region.address = 0x20000;
  assertEquals(machine.reads(0x10000, 0x20000), [undefined, 1]);
});

test("KvmSlots shows the same RAM at several addresses, and each until it is gone", () => {
  using machine = new Machine();
  const region = machine.region("ram", 4 * PAGE);
  machine.system.add(region, 0x10000);
  const alias = machine.alias("alias", region, PAGE, 2 * PAGE);
  machine.system.add(alias, 0x40000);
  assertEquals(machine.reads(0x11000, 0x40000, 0x41000), [2, 2, 3]);
  machine.processor.write(0x41000, 0x77);
  assertEquals(machine.reads(0x12000), [0x77]);
  machine.system.remove(region);
  assertEquals(machine.reads(0x11000, 0x40000), [undefined, 2]);
});

test("KvmSlots leaves a page out that is only partly RAM, and keeps the RAM around a device", () => {
  using machine = new Machine();
  machine.system.add(machine.region("ram", 8 * PAGE), 0x10000);
  machine.system.add(machine.io("device", 0x100), 0x12800, 1);
  assertEquals(machine.slots.slots.map(({ address, length }) => [address, length]), [
    [0x10000, 2 * PAGE],
    [0x13000, 5 * PAGE],
  ]);
  assertEquals(machine.reads(0x11000, 0x12000, 0x12800, 0x12900, 0x13000), [
    2,
    undefined,
    undefined,
    undefined,
    4,
  ]);
});

test("KvmSlots takes no slot for RAM of less than a page", () => {
  using machine = new Machine();
  machine.system.add(machine.region("ram", 0x100), 0x10000);
  machine.system.add(machine.region("ram", PAGE, 0x800), 0x20800);
  assertEquals(machine.slots.slots, []);
  assertEquals(machine.reads(0x10000, 0x21000), [undefined, undefined]);
});

test("KvmSlots deletes before it adds, so that RAM may change places in one transaction", () => {
  using machine = new Machine({ a: PAGE, b: 2 * PAGE }, { limit: 2 });
  const a = machine.region("a", PAGE);
  const b = machine.region("b", PAGE, PAGE);
  machine.system.add(a, 0x10000);
  machine.system.add(b, 0x20000);
  assertEquals(machine.reads(0x10000, 0x20000), [1, 2]);
  machine.core.transaction(() => {
    a.address = 0x20000;
    b.address = 0x10000;
  });
  assertEquals(machine.reads(0x10000, 0x20000), [2, 1]);
});

test("KvmSlots uses slots again", () => {
  using machine = new Machine();
  const region = machine.region("ram", PAGE);
  machine.system.add(region, 0x10000);
  for (let times = 0; times < 5; times++) {
    region.enabled = false;
    assertEquals(machine.slots.slots, []);
    region.enabled = true;
  }
  assertEquals(machine.slots.slots, [{ slot: 0, address: 0x10000, length: PAGE }]);
});

test("KvmSlots names the range and the limit when no slot is free, and gives the next free one", () => {
  using machine = new Machine({ ram: 16 * PAGE }, { limit: 2 });
  const regions = [0, 1, 2].map((index) => machine.region("ram", PAGE, index * PAGE));
  machine.system.add(regions[0]!, 0x10000);
  machine.system.add(regions[1]!, 0x20000);
  const error = assertThrows(() => machine.system.add(regions[2]!, 0x30000), GuestMemoryError);
  assertEquals([error.code, error.address], ["NO_SLOT", 0x30000]);
  assertStringIncludes(error.message, "RAM ram 0x30000 to 0x30fff, all are in use: 2");
  assertStringIncludes(error.message, "KVM_CAP_NR_MEMSLOTS");
  assertEquals(machine.reads(0x10000, 0x20000, 0x30000), [1, 2, undefined]);
  machine.system.remove(regions[0]!);
  assertEquals(machine.reads(0x10000, 0x20000, 0x30000), [undefined, 2, 3]);
  machine.system.remove(regions[1]!);
  assertEquals(machine.slots.slots, [{ slot: 0, address: 0x30000, length: PAGE }]);
  machine.system.remove(regions[2]!);
  machine.system.add(regions[0]!, 0x10000);
  assertEquals(machine.reads(0x10000, 0x30000), [1, undefined]);
});

test("KvmSlots forgets a range without a slot that is gone before one is free", () => {
  using machine = new Machine({ ram: 16 * PAGE }, { limit: 1 });
  const [first, second] = [0, 1].map((index) => machine.region("ram", PAGE, index * PAGE));
  machine.system.add(first!, 0x10000);
  assertThrows(() => machine.system.add(second!, 0x20000), GuestMemoryError);
  machine.system.remove(second!);
  machine.system.remove(first!);
  assertEquals(machine.slots.slots, []);
});

test("KvmSlots refuses RAM whose pages do not line up with the host's", () => {
  using machine = new Machine();
  const error = assertThrows(
    () => machine.system.add(machine.region("ram", 2 * PAGE, 0x200), 0x10000),
    GuestMemoryError,
  );
  assertEquals(error.code, "MISALIGNED");
  assertStringIncludes(error.message, "512 bytes into pages of 4096");
});

test("KvmSlots says which slot and range KVM does not take, and why, and goes on with the others", () => {
  using machine = new Machine();
  const foreign = machine.kvm.slotLimit - 2;
  machine.kvm.setSlot(foreign, 0x20000, machine.memories[0]!.address, PAGE);
  const error = assertThrows(
    () =>
      machine.core.transaction(() => {
        machine.system.add(machine.region("ram", 2 * PAGE), 0x1f000);
        machine.system.add(machine.region("ram", PAGE, PAGE), 0x30000);
      }),
    GuestMemoryError,
  );
  assertEquals([error.code, error.address], ["SLOT_REFUSED", 0x1f000]);
  assertStringIncludes(error.message, "KVM memory slot 0 for RAM ram 0x1f000 to 0x20fff");
  assertStringIncludes(error.message, "EEXIST");
  assertEquals(machine.reads(0x1f000, 0x30000), [undefined, 2]);
  assertEquals(machine.slots.slots, [{ slot: 0, address: 0x30000, length: PAGE }]);
});

test("KvmSlots refuses RAM of a block that is not mapped, or past the end of one", () => {
  using machine = new Machine();
  const unknown = assertThrows(
    () => machine.system.add(machine.region("rom", PAGE), 0x10000),
    GuestMemoryError,
  );
  assertEquals(unknown.code, "UNKNOWN_BLOCK");
  const past = assertThrows(
    () => machine.system.add(machine.region("ram", 2 * PAGE, 15 * PAGE), 0x20000),
    GuestMemoryError,
  );
  assertEquals(past.code, "PAST_BLOCK");
  assertEquals(machine.slots.slots, []);
});

test("KvmSlots deletes all of its slots when it is taken off", () => {
  using machine = new Machine();
  machine.system.add(machine.region("ram", PAGE), 0x10000);
  machine.remove();
  assertEquals(machine.reads(0x10000), [undefined]);
  // The slot is free for others.
  machine.kvm.setSlot(0, 0x10000, machine.memories[0]!.address + PAGE, PAGE);
  assertEquals(machine.reads(0x10000), [2]);
});
