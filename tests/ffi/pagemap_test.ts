import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { WrittenPages } from "../../ffi/pagemap.ts";
import {
  RegisterMode,
  UffdFeature,
  Userfaultfd,
  writeProtectRange,
} from "../../ffi/userfaultfd.ts";
import { leavingNoDescriptors, openDescriptors } from "../support/descriptors.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;

/** Memory of which the kernel knows which pages were written to. */
class TrackedMemory implements Disposable {
  readonly memory: MappedMemory;
  readonly #bytes: Uint8Array;
  readonly #uffd = new Userfaultfd({
    features: UffdFeature.WP_ASYNC | UffdFeature.WP_HUGETLBFS_SHMEM,
  });

  constructor(readonly pages: number, backing: Backing = "anonymous") {
    const length = pages * PAGE;
    this.memory = backing === "memfd"
      ? MappedMemory.memfd(length, "tracked")
      : MappedMemory.anonymous(length);
    this.#bytes = this.memory.bytes();
    this.#uffd.register(this.memory.address, length, RegisterMode.WP);
    writeProtectRange(this.#uffd.fd, this.memory.address, length, true);
  }

  /** Writes to a page. */
  write(page: number): void {
    this.#bytes[page * PAGE + 17]!++;
  }

  /** Takes the written pages by number, from `first` to before `behind`. */
  take(written: WrittenPages, first = 0, behind = this.pages): number[] {
    const { address } = this.memory;
    const end = address + behind * PAGE;
    const taken: number[] = [];
    for (let at = address + first * PAGE; at < end; at = written.scannedTo) {
      const regions = written.scan(at, end);
      for (let region = 0; region < regions; region++) {
        const to = (written.regionEnd(region) - address) / PAGE;
        let page = (written.regionStart(region) - address) / PAGE;
        for (; page < to; page++) taken.push(page);
      }
    }
    return taken;
  }

  [Symbol.dispose](): void {
    this.#uffd.close();
    this.memory.close();
  }
}

const ONE = (test: () => void) => leavingNoDescriptors(() => Promise.resolve(test()));

Deno.test(
  "WrittenPages.scan finds a written page once, until it is written again",
  ONE(() => {
    using tracked = new TrackedMemory(64);
    using written = new WrittenPages();
    assertEquals(tracked.take(written), []);
    for (const page of [3, 4, 5, 63]) tracked.write(page);
    assertEquals(tracked.take(written), [3, 4, 5, 63]);
    assertEquals(tracked.take(written), []);
    tracked.write(4);
    assertEquals(tracked.take(written), [4]);
  }),
);

Deno.test(
  "WrittenPages.scan gives neighbours as one region, and stops where its regions are full",
  ONE(() => {
    using tracked = new TrackedMemory(64);
    using written = new WrittenPages(2);
    for (const page of [1, 2, 3, 10, 20, 21]) tracked.write(page);
    const { address, length } = tracked.memory;
    const region = (index: number) =>
      [written.regionStart(index), written.regionEnd(index)].map((at) => (at - address) / PAGE);
    assertEquals(written.scan(address, address + length), 2);
    assertEquals([region(0), region(1)], [[1, 4], [10, 11]]);
    // What it did not give is still to be had.
    assertEquals(tracked.take(written, (written.scannedTo - address) / PAGE), [20, 21]);
    assertEquals(written.scannedTo, address + length);
  }),
);

Deno.test(
  "WrittenPages.scan takes the pages of its range alone",
  ONE(() => {
    using tracked = new TrackedMemory(64);
    using written = new WrittenPages();
    for (const page of [7, 8, 9, 10]) tracked.write(page);
    assertEquals(tracked.take(written, 8, 10), [8, 9]);
    assertEquals(tracked.take(written), [7, 10]);
  }),
);

for (const backing of ["anonymous", "memfd"] as const) {
  Deno.test(
    `WrittenPages.scan behaves as a set of the pages of ${backing} memory, however few regions fit`,
    ONE(() => {
      const random = new Random(5);
      for (const capacity of [1, 2, 7, 600]) {
        // More pages than one page table has, and more than the kernel keeps before it writes them out.
        using tracked = new TrackedMemory(random.between(1000, 3000), backing);
        using written = new WrittenPages(capacity);
        for (let round = 0; round < 6; round++) {
          const model = new Set<number>();
          for (let count = random.pick([0, 3, 100, 2000]); count > 0; count--) {
            const page = random.below(tracked.pages);
            tracked.write(page);
            model.add(page);
          }
          assertEquals(tracked.take(written), [...model].sort((one, other) => one - other));
        }
      }
    }),
  );
}

Deno.test(
  "WrittenPages.scan refuses memory whose writes nobody tracks, and half pages",
  ONE(() => {
    using memory = MappedMemory.anonymous(4 * PAGE);
    using tracked = new TrackedMemory(4);
    using written = new WrittenPages();
    const { address, length } = memory;
    const untracked = assertThrows(() => written.scan(address, address + length), SyscallError);
    assertEquals([untracked.syscall, untracked.code], ["PAGEMAP_SCAN", "EPERM"]);
    const at = tracked.memory.address + 100;
    const half = assertThrows(() => written.scan(at, at + PAGE), SyscallError);
    assertEquals([half.syscall, half.code], ["PAGEMAP_SCAN", "EINVAL"]);
  }),
);

Deno.test(
  "WrittenPages is closed twice without harm, and scans nothing any more",
  ONE(() => {
    const written = new WrittenPages();
    written.close();
    using _other = new WrittenPages();
    const before = openDescriptors();
    written.close();
    written[Symbol.dispose]();
    assertEquals(openDescriptors(), before);
    assertThrows(() => written.scan(0, PAGE), Error, "Pagemap is closed");
  }),
);

Deno.test(
  "writeProtectRange refuses memory that is not registered",
  ONE(() => {
    using memory = MappedMemory.anonymous(PAGE);
    using uffd = new Userfaultfd();
    const error = assertThrows(
      () => writeProtectRange(uffd.fd, memory.address, PAGE, true),
      SyscallError,
    );
    assertEquals([error.syscall, error.code], ["UFFDIO_WRITEPROTECT", "ENOENT"]);
  }),
);
