import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { DirtyTracker, type TrackedBlock } from "../../server/live/dirty_tracker.ts";
import { leavingNoDescriptors, openDescriptors } from "../support/descriptors.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import { testUnless } from "../support/skip.ts";

const PAGE = 4096;
const HUGE_PAGE = 2 * 1024 * 1024;

function map(pages: number, backing: Backing = "memfd"): MappedMemory {
  return backing === "memfd"
    ? MappedMemory.memfd(pages * PAGE, "tracked")
    : MappedMemory.anonymous(pages * PAGE);
}

/** The block of a mapping, or of some of its pages. */
function blockOf(
  memory: MappedMemory,
  firstPage = 0,
  { from = 0, count = memory.length / PAGE }: { from?: number; count?: number } = {},
): TrackedBlock {
  const address = memory.address + from * PAGE;
  return { address, length: count * PAGE, pageSize: PAGE, firstPage };
}

function write(memory: MappedMemory, ...pages: number[]): void {
  const bytes = memory.bytes();
  for (const page of pages) bytes[page * PAGE + 5]!++;
}

/** The pages whose bits are set, which are clear then. */
function take(dirty: PageBitmap): number[] {
  const pages: number[] = [];
  for (let page = dirty.next(0); page >= 0; page = dirty.next(page + 1)) {
    pages.push(page);
    dirty.take(page);
  }
  return pages;
}

/** The pages of a mapping that are write-protected, by bit 57 of Documentation/admin-guide/mm/pagemap.rst. */
function protectedPages(memory: MappedMemory): number[] {
  using pagemap = Deno.openSync("/proc/self/pagemap");
  pagemap.seekSync(memory.address / PAGE * 8, Deno.SeekMode.Start);
  const entries = new BigUint64Array(memory.length / PAGE);
  pagemap.readSync(new Uint8Array(entries.buffer));
  return [...entries.keys()].filter((page) => (entries[page]! >> 57n & 1n) === 1n);
}

const ONE = (test: () => void) => leavingNoDescriptors(() => Promise.resolve(test()));

for (const backing of ["memfd", "anonymous"] as const) {
  Deno.test(
    `DirtyTracker.collect finds writes to pages of ${backing} memory that did not exist, not reads`,
    ONE(() => {
      using memory = map(1024, backing);
      write(memory, 1, 2);
      using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
      const dirty = new PageBitmap(1024);
      tracker.start();
      const bytes = memory.bytes();
      assertEquals([bytes[1 * PAGE + 5], bytes[700 * PAGE]], [1, 0]);
      assertEquals(tracker.collect(dirty), 0);
      write(memory, 2, 3, 700, 800, 1023);
      assertEquals(tracker.collect(dirty), 5);
      assertEquals(take(dirty), [2, 3, 700, 800, 1023]);
      write(memory, 3, 801);
      assertEquals(tracker.collect(dirty), 2);
      assertEquals(take(dirty), [3, 801]);
      assertEquals(tracker.collect(dirty), 0);
    }),
  );

  Deno.test(
    `DirtyTracker.collect finds writes to pages of ${backing} memory that were given back meanwhile`,
    ONE(() => {
      using memory = map(2048, backing);
      write(memory, ...Array(2048).keys());
      using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
      const dirty = new PageBitmap(2048);
      tracker.start();
      // Single pages, and at least one whole page table.
      memory.discard(8 * PAGE, 4 * PAGE);
      memory.discard(100 * PAGE, 1800 * PAGE);
      tracker.collect(dirty);
      dirty.clear(0, 2048);
      write(memory, 9, 100, 1000, 1899);
      tracker.collect(dirty);
      // A page table made anew counts as written as a whole.
      const found = take(dirty);
      for (const page of [9, 100, 1000, 1899]) assertEquals(found.includes(page), true, `${page}`);
    }),
  );

  Deno.test(
    `DirtyTracker.stop leaves no page of ${backing} memory protected, and no descriptor`,
    ONE(() => {
      using memory = map(600, backing);
      write(memory, 1, 300, 599);
      const before = openDescriptors();
      const tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
      tracker.start();
      assertEquals(protectedPages(memory).length, 600);
      write(memory, 300);
      assertEquals(protectedPages(memory).includes(300), false);
      tracker.collect(new PageBitmap(608));
      assertEquals(protectedPages(memory).length, 600);
      tracker.stop();
      assertEquals(protectedPages(memory), []);
      assertEquals(openDescriptors(), before);
      tracker.stop();
      tracker[Symbol.dispose]();
      assertThrows(() => tracker.collect(new PageBitmap(608)), Error, "not started");
      tracker.start();
      assertThrows(() => tracker.start(), Error, "started already");
      tracker.stop();
    }),
  );
}

Deno.test(
  "DirtyTracker.collect finds what the kernel writes for a system call",
  ONE(() => {
    using memory = map(8);
    using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
    const dirty = new PageBitmap(32);
    tracker.start();
    using file = Deno.openSync("/dev/urandom");
    file.readSync(memory.bytes(3 * PAGE, 2 * PAGE));
    tracker.collect(dirty);
    assertEquals(take(dirty), [3, 4]);
  }),
);

Deno.test(
  "DirtyTracker.collect sets the bits of each block where it is, and returns those that were clear",
  ONE(() => {
    using one = map(40);
    using other = map(10, "anonymous");
    const blocks = [blockOf(one, 32), blockOf(other, 96)];
    using tracker = new DirtyTracker({ blocks, targetPageSize: PAGE });
    const dirty = new PageBitmap(128);
    tracker.start();
    write(one, 0, 39);
    write(other, 0, 9);
    dirty.add(71);
    assertEquals(tracker.collect(dirty), 3);
    assertEquals(take(dirty), [32, 71, 96, 105]);
  }),
);

Deno.test(
  "DirtyTracker tracks a block that begins and ends within a 2 MiB range, and nothing beside it",
  ONE(() => {
    using memory = map(2048);
    // The first page behind a multiple of 2 MiB, and some more.
    const aligned = Math.ceil(memory.address / HUGE_PAGE) * HUGE_PAGE;
    const from = (aligned - memory.address) / PAGE + 3;
    const block = blockOf(memory, 64, { from, count: 700 });
    using tracker = new DirtyTracker({ blocks: [block], targetPageSize: PAGE });
    const dirty = new PageBitmap(1024);
    tracker.start();
    write(memory, from - 1, from, from + 508, from + 509, from + 699, from + 700);
    tracker.collect(dirty);
    assertEquals(take(dirty), [64, 64 + 508, 64 + 509, 64 + 699]);
  }),
);

Deno.test(
  "DirtyTracker.collect finds all pages when they are more runs than one scan returns",
  ONE(() => {
    const pages = 20_000;
    using memory = map(pages);
    using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
    const dirty = new PageBitmap(pages);
    tracker.start();
    // Every other page is a run of its own: 10,000, where a scan takes 4096.
    const odd = Array.from({ length: pages / 2 }, (_, run) => 2 * run + 1);
    write(memory, ...odd);
    assertEquals(tracker.collect(dirty), odd.length);
    assertEquals(take(dirty), odd);
    assertEquals(tracker.collect(dirty), 0);
  }),
);

for (const backing of ["memfd", "anonymous"] as const) {
  Deno.test(
    `DirtyTracker.collect finds the pages around each 256 MiB of ${backing} memory`,
    ONE(() => {
      // Two whole pieces and the beginning of a third; only the pages written to exist.
      const piece = 65_536;
      const pages = 2 * piece + 2;
      using memory = map(pages, backing);
      using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
      const dirty = new PageBitmap(pages + 30);
      const around = [0, piece - 1, piece, 2 * piece - 1, 2 * piece, pages - 1];
      tracker.start();
      assertEquals(tracker.collect(dirty), 0);
      for (const page of around) {
        write(memory, page);
        assertEquals(tracker.collect(dirty), 1);
        assertEquals(take(dirty), [page]);
      }
      write(memory, ...around);
      assertEquals(tracker.collect(dirty), around.length);
      assertEquals(take(dirty), around);
    }),
  );
}

Deno.test(
  "DirtyTracker.collect takes a target page for dirty when a part of it is",
  ONE(() => {
    using memory = map(64);
    using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: 4 * PAGE });
    const dirty = new PageBitmap(32);
    tracker.start();
    write(memory, 5, 7, 8, 15, 63);
    assertEquals(tracker.collect(dirty), 4);
    assertEquals(take(dirty), [1, 2, 3, 15]);
  }),
);

Deno.test(
  "DirtyTracker refuses memory that another one tracks, which goes on",
  ONE(() => {
    using memory = map(64);
    using free = map(64);
    using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
    tracker.start();
    const blocks = [blockOf(free), blockOf(memory, 64)];
    using second = new DirtyTracker({ blocks, targetPageSize: PAGE });
    const error = assertThrows(() => second.start(), SyscallError);
    assertEquals(
      error.message,
      "UFFDIO_REGISTER failed with EBUSY: 262144 bytes, mode 2: another userfaultfd has this " +
        "memory, of a migration that has not ended: end that first",
    );
    assertEquals(protectedPages(free), []);
    write(memory, 10);
    const dirty = new PageBitmap(64);
    tracker.collect(dirty);
    assertEquals(take(dirty), [10]);
    tracker.stop();
    second.start();
  }),
);

Deno.test(
  "DirtyTracker of other blocks of the same memory tracks beside one",
  ONE(() => {
    using memory = map(64);
    const init = (from: number) => ({
      blocks: [blockOf(memory, 0, { from, count: 32 })],
      targetPageSize: PAGE,
    });
    using one = new DirtyTracker(init(0));
    using other = new DirtyTracker(init(32));
    one.start();
    other.start();
    write(memory, 1, 33, 34);
    const dirty = new PageBitmap(32);
    one.collect(dirty);
    assertEquals(take(dirty), [1]);
    one.stop();
    write(memory, 2);
    other.collect(dirty);
    assertEquals(take(dirty), [1, 2]);
  }),
);

Deno.test(
  "DirtyTracker.stop ends what was begun by pieces and broken off",
  ONE(() => {
    using memory = map(64);
    const blocks = [0, 32].map((from) => blockOf(memory, from, { from, count: 32 }));
    const before = openDescriptors();
    for (const broken of ["starting", "stopping"] as const) {
      const tracker = new DirtyTracker({ blocks, targetPageSize: PAGE });
      if (broken === "stopping") tracker.start();
      const pieces = tracker[broken]();
      pieces.next();
      assertEquals(protectedPages(memory).length, 32); // the first, or the second block's
      pieces.return();
      tracker.stop();
      assertEquals([protectedPages(memory), openDescriptors()], [[], before]);
    }
  }),
);

Deno.test(
  "DirtyTracker.collecting finds what is written between its pieces, then or the next time",
  ONE(() => {
    using memory = map(64);
    const blocks = [0, 32].map((from) => blockOf(memory, from, { from, count: 32 }));
    using tracker = new DirtyTracker({ blocks, targetPageSize: PAGE });
    tracker.start();
    write(memory, 1);
    const dirty = new PageBitmap(64);
    const pieces = tracker.collecting(dirty);
    pieces.next();
    write(memory, 2, 40);
    pieces.next();
    assertEquals(pieces.next(), { done: true, value: 2 });
    assertEquals(take(dirty), [1, 40]);
    assertEquals(tracker.collect(dirty), 1);
    assertEquals(take(dirty), [2]);
  }),
);

Deno.test(
  "DirtyTracker stops when its memory is gone",
  ONE(() => {
    const memory = map(64);
    using tracker = new DirtyTracker({ blocks: [blockOf(memory)], targetPageSize: PAGE });
    tracker.start();
    memory.close();
    tracker.stop();
  }),
);

testUnless(
  needsHugePages(4),
  "DirtyTracker.collect takes all target pages of a 2 MiB page for dirty, but none behind the block",
  ONE(() => {
    using _granted = new GrantedHugePages(4);
    using memory = MappedMemory.memfd(4 * HUGE_PAGE, "huge", { pageSize: HUGE_PAGE });
    const pageSize = HUGE_PAGE;
    const length = 3 * HUGE_PAGE + 5 * PAGE;
    const block = { address: memory.address, length, pageSize, firstPage: 32 };
    using tracker = new DirtyTracker({ blocks: [block], targetPageSize: PAGE });
    const dirty = new PageBitmap(3 * 512 + 64);
    tracker.start();
    assertEquals(tracker.collect(dirty), 0);
    write(memory, 512 + 100, 3 * 512 + 2);
    assertEquals(tracker.collect(dirty), 512 + 5);
    assertEquals(dirty.count(32 + 512, 512), 512);
    assertEquals(dirty.count(32 + 3 * 512, 5), 5);
    assertEquals(tracker.collect(dirty), 0);
    write(memory, 0);
    assertEquals(tracker.collect(dirty), 512);
  }),
);
