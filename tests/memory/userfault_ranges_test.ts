import { assertEquals, assertGreater, assertStringIncludes, assertThrows } from "@std/assert";
import {
  UserfaultRanges,
  type UserfaultRangesOptions,
} from "../../client/memory/userfault_ranges.ts";
import { Errno } from "../../ffi/errno.ts";
import { FaultReader } from "../../ffi/fault_reader.ts";
import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { waitingFaults } from "../../ffi/waiting_faults.ts";
import { GuestMemoryError } from "../../migration/address_space/guest_memory_error.ts";
import type { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { RamAddresses } from "../../migration/address_space/ram_addresses.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Random } from "../support/random.ts";
import { FaultingThread } from "./faulting_thread.ts";
import { kernelRanges } from "./kernel_ranges.ts";
import { type BlockSizes, MappedMachine, PAGE } from "./mapped_machine.ts";

/** A machine whose visible RAM faults. */
class Machine extends MappedMachine {
  readonly uffd: Userfaultfd;
  readonly ranges: UserfaultRanges;
  readonly remove: () => void;
  readonly reader: FaultReader;
  readonly content = MappedMemory.anonymous(PAGE);

  constructor(
    sizes: BlockSizes = { ram: 16 * PAGE },
    { backing = "anonymous", ...options }: UserfaultRangesOptions & { backing?: Backing } = {},
  ) {
    super(sizes, backing);
    const features = backing === "memfd" ? UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM : 0n;
    this.uffd = new Userfaultfd({ features });
    this.reader = new FaultReader(this.uffd.fd, 4);
    this.ranges = new UserfaultRanges(this.uffd.fd, this.ram, options);
    this.remove = this.space.addListener(this.ranges);
  }

  /** `[page, pages]` of what the kernel has registered of the first block. */
  get registered(): [number, number][] {
    return kernelRanges(this.memories[0]!).map(({ page, pages }) => [page, pages]);
  }

  /** Address of a page of the first block. */
  at(page: number): number {
    return this.memories[0]!.address + page * PAGE;
  }

  /** Waits for a fault, and returns the page of the first block. */
  async fault(): Promise<number> {
    const poll = new PollSet(1);
    poll.watch(0, this.uffd.fd, PollEvents.IN);
    assertGreater(await within("a fault", poll.waitAsync(20_000)), 0);
    assertEquals(this.reader.read(), 1);
    return (this.reader.address(0) - this.at(0)) / PAGE;
  }

  /** Places a page of the first block whose every word is `word`. */
  place(page: number, word: number): void {
    new Int32Array(this.content.bytes().buffer).fill(word);
    const placer = new PagePlacer(this.uffd.fd);
    assertEquals(placer.copy(this.at(page), this.content.address, PAGE), Placement.PLACED);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.uffd.close();
    this.content.close();
  }
}

function test(name: string, run: () => void | Promise<void>): void {
  Deno.test(name, leavingNoDescriptors(async () => await run()));
}

test("UserfaultRanges lets a thread fault on RAM that appeared by enabling its region", async () => {
  using machine = new Machine();
  const region = machine.region("ram", 4 * PAGE, 8 * PAGE);
  region.enabled = false;
  machine.system.add(region, 0x10000);
  assertEquals(machine.registered, []);
  region.enabled = true;
  assertEquals(machine.registered, [[8, 4]]);
  using thread = new FaultingThread(machine.at(9));
  assertEquals(await machine.fault(), 9);
  assertEquals([thread.isThrough, waitingFaults(machine.uffd.fd)], [false, 1]);
  machine.place(9, 0x1234);
  assertEquals(await thread.found(), 0x1234);
});

test("UserfaultRanges leaves RAM alone whose region has vanished", async () => {
  using machine = new Machine();
  const region = machine.region("ram", 4 * PAGE);
  machine.system.add(region, 0x10000);
  machine.place(1, 77);
  region.enabled = false;
  assertEquals(machine.registered, []);
  using present = new FaultingThread(machine.at(1));
  using missing = new FaultingThread(machine.at(2));
  assertEquals([await present.found(), await missing.found()], [77, 0]);
  assertEquals(machine.reader.read(), -Errno.EAGAIN);
  const placer = new PagePlacer(machine.uffd.fd);
  assertEquals(placer.copy(machine.at(3), machine.content.address, PAGE), Placement.GONE);
});

test("UserfaultRanges keeps a thread waiting while the region moves in a transaction", async () => {
  using machine = new Machine();
  const region = machine.region("ram", 4 * PAGE);
  machine.system.add(region, 0x10000);
  using thread = new FaultingThread(machine.at(2));
  assertEquals(await machine.fault(), 2);
  region.address = 0x40000;
  machine.core.transaction(() => {
    machine.system.remove(region);
    machine.system.add(region, 0x80000);
  });
  assertEquals(machine.ranges.calls, { registrations: 1, unregistrations: 0 });
  assertEquals([thread.isThrough, waitingFaults(machine.uffd.fd)], [false, 1]);
  machine.place(2, 5);
  assertEquals(await thread.found(), 5);
});

test("UserfaultRanges registers RAM once that is seen at several addresses, until the last is gone", () => {
  using machine = new Machine();
  const region = machine.region("ram", 8 * PAGE);
  const high = machine.alias("high", region, 2 * PAGE, 8 * PAGE - 2 * PAGE);
  const low = machine.alias("low", region, PAGE, 3 * PAGE);
  machine.system.add(region, 0x10000);
  machine.system.add(high, 0x40000);
  machine.system.add(low, 0x80000);
  assertEquals(machine.registered, [[0, 8]]);
  assertEquals(machine.ranges.calls, { registrations: 1, unregistrations: 0 });
  machine.system.remove(region);
  assertEquals(machine.registered, [[1, 7]]);
  machine.system.remove(high);
  assertEquals(machine.registered, [[1, 3]]);
  machine.system.remove(low);
  assertEquals(machine.registered, []);
  assertEquals(machine.ranges.calls, { registrations: 1, unregistrations: 3 });
});

test("UserfaultRanges registers every host page of which a byte is seen", () => {
  using machine = new Machine();
  machine.system.add(machine.region("ram", 10 * PAGE, PAGE), 0x10000);
  const device = machine.io("device", 2 * PAGE);
  machine.system.add(device, 0x10000 + 3 * PAGE + 256, 1);
  // Of the device's pages only the middle one is wholly covered.
  assertEquals(machine.registered, [[1, 4], [6, 5]]);
  device.enabled = false;
  assertEquals(machine.registered, [[1, 10]]);
});

test("UserfaultRanges widens ranges to the host pages of their block", () => {
  using machine = new Machine({ ram: 64 * PAGE });
  const [block] = machine.ram.blocks;
  const ram = new RamAddresses([{ ...block!, pageSize: 16 * PAGE }]);
  machine.remove();
  machine.space.addListener(new UserfaultRanges(machine.uffd.fd, ram));
  machine.system.add(machine.region("ram", 2 * PAGE, 20 * PAGE), 0x10000);
  assertEquals(machine.registered, [[16, 16]]);
  machine.system.add(machine.region("ram", 2 * PAGE, 31 * PAGE), 0x20000);
  assertEquals(machine.registered, [[16, 32]]);
});

test("UserfaultRanges takes minor faults too where RAM is a memfd", () => {
  using machine = new Machine({ ram: 4 * PAGE }, { backing: "memfd" });
  machine.system.add(machine.region("ram", 2 * PAGE), 0);
  assertEquals(kernelRanges(machine.memories[0]!), [
    { page: 0, pages: 2, faults: "missing and minor" },
  ]);
});

test("UserfaultRanges keeps RAM registered that is not complete, until it is", () => {
  const asked: number[][] = [];
  let complete = false;
  const isComplete = (...range: number[]) => {
    asked.push(range);
    return complete;
  };
  using machine = new Machine(undefined, { isComplete });
  const region = machine.region("ram", 4 * PAGE, PAGE);
  machine.system.add(region, 0x10000);
  machine.system.remove(region);
  assertEquals(asked, [[0, PAGE, 4 * PAGE]]);
  assertEquals([machine.registered, machine.ranges.settle()], [[[1, 4]], false]);
  complete = true;
  assertEquals([machine.ranges.settle(), machine.registered], [true, []]);
});

test("UserfaultRanges asks no more about RAM that came back before it was complete", () => {
  using machine = new Machine(undefined, { isComplete: () => false });
  const region = machine.region("ram", 4 * PAGE);
  machine.system.add(region, 0x10000);
  region.enabled = false;
  region.enabled = true;
  assertEquals([machine.ranges.settle(), machine.registered], [true, [[0, 4]]]);
  assertEquals(machine.ranges.calls, { registrations: 1, unregistrations: 0 });
});

test("UserfaultRanges names block, range and remedy for what another userfaultfd has, and tries again", () => {
  using machine = new Machine();
  using other = new Userfaultfd();
  other.register(machine.at(2), PAGE, RegisterMode.MISSING);
  const error = assertThrows(
    () =>
      machine.core.transaction(() => {
        machine.system.add(machine.region("ram", 3 * PAGE, PAGE), 0x10000);
        machine.system.add(machine.region("ram", PAGE, 8 * PAGE), 0x20000);
      }),
    GuestMemoryError,
  );
  assertEquals([error.code, error.address], ["USERFAULT_REFUSED", 0x10000]);
  assertStringIncludes(
    error.message,
    "Userfaultfd range of RAM block ram, 0x1000 to 0x3fff, seen at 0x10000: " +
      "UFFDIO_REGISTER failed with EBUSY",
  );
  assertStringIncludes(error.message, "end that first");
  assertEquals(machine.ranges.registered, [{ block: 0, offset: 8 * PAGE, length: PAGE }]);
  other.close();
  machine.system.add(machine.region("ram", PAGE, 10 * PAGE), 0x30000);
  assertEquals(machine.registered, [[1, 3], [8, 1], [10, 1]]);
});

test("UserfaultRanges refuses RAM of a block that is not mapped", () => {
  using machine = new Machine();
  const error = assertThrows(
    () => machine.system.add(machine.region("rom", PAGE), 0x10000),
    GuestMemoryError,
  );
  assertEquals([error.code, error.address], ["UNKNOWN_BLOCK", 0x10000]);
  assertStringIncludes(error.message, "RAM block that is not mapped: rom");
});

test("UserfaultRanges unregisters everything when it is taken off", () => {
  using machine = new Machine();
  machine.system.add(machine.region("ram", 2 * PAGE, PAGE), 0x10000);
  machine.system.add(machine.region("ram", 2 * PAGE, 8 * PAGE), 0x20000);
  machine.remove();
  assertEquals([machine.registered, machine.ranges.registered], [[], []]);
});

test("UserfaultRanges has registered in the kernel what random machines show, page by page", () => {
  const PAGES = 32;
  const random = new Random(7);
  using machine = new Machine({ ram: PAGES * PAGE });
  const regions: MemoryRegion[] = [];
  for (let round = 0; round < 150; round++) {
    machine.core.transaction(() => {
      for (let changes = random.between(1, 4); changes > 0; changes--) {
        const region = regions.length === 0 ? undefined : random.pick(regions);
        if (region === undefined || (regions.length < 8 && random.oneIn(2))) {
          const size = random.between(1, 12 * PAGE);
          const added = random.oneIn(3)
            ? machine.io("io", size)
            : machine.region("ram", size, random.below(PAGES * PAGE - size));
          machine.system.add(added, random.below(40) * PAGE, random.below(4));
          regions.push(added);
        } else if (random.oneIn(3)) {
          machine.system.remove(region);
          regions.splice(regions.indexOf(region), 1);
        } else if (random.oneIn(2)) region.enabled = !region.enabled;
        else region.address = random.below(40) * PAGE;
      }
    });
    const seen = new Uint8Array(PAGES);
    for (const { region, offset, length } of machine.space.flatView().ranges) {
      if (region.kind !== "ram") continue;
      const first = Math.floor((region.blockOffset + offset) / PAGE);
      const last = Math.floor((region.blockOffset + offset + length - 1) / PAGE);
      seen.fill(1, first, last + 1);
    }
    const kernel = new Uint8Array(PAGES);
    for (const [page, pages] of machine.registered) kernel.fill(1, page, page + pages);
    assertEquals(kernel, seen, `round ${round}`);
  }
});
