/** Host pages that are too large to be gathered: put together in the page cache, and mapped once they are whole. */
import "../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { GATHER_BYTES, ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { BlockMap } from "../../client/placing/block_map.ts";
import { DestinationState } from "../../client/placing/destination_state.ts";
import { forgetBegun, HugePageSink } from "../../client/placing/huge_page_sink.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { RegisterMode, registerRange, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;
/** The size is all that tells such a page from one that is gathered: a memfd of small pages does as well. */
const LARGE = 2 * GATHER_BYTES;
const PARTS = LARGE / PAGE;
const HOST_PAGES = 2;

/** The memory of a destination behind LISTEN, and sinks of both channels. */
class Memory implements Disposable {
  readonly uffd = new Userfaultfd({
    features: UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM,
  });
  readonly memory = MappedMemory.memfd(HOST_PAGES * LARGE, "test");
  readonly alias = MappedMemory.alias(this.memory.fd, HOST_PAGES * LARGE);
  readonly state = new DestinationState();
  readonly landed: number[] = [];
  readonly map: BlockMap;
  readonly received: PageBitmap;
  readonly claimed: PageBitmap;
  readonly requested: PageBitmap;
  readonly main: HugePageSink;
  readonly preempt: HugePageSink;
  readonly #buffers = [new ReceiveBuffer(PAGE), new ReceiveBuffer(PAGE)];

  constructor() {
    const { address, length, fd } = this.memory;
    this.map = new BlockMap({
      blocks: [{ name: "ram", address, length, fd, pageSize: LARGE }],
      targetPageSize: PAGE,
      shared: false,
      aliases: [this.alias.address],
    });
    registerRange(this.uffd.fd, address, length, RegisterMode.MISSING | RegisterMode.MINOR);
    const bitmap = () => new PageBitmap(this.map.layout.pageLimit);
    [this.received, this.claimed, this.requested] = [bitmap(), bitmap(), bitmap()];
    this.main = this.#sink("main", 0);
    this.preempt = this.#sink("preempt", 1);
  }

  /** What a page holds, read without a fault. */
  fill(page: number): number | undefined {
    const bytes = this.alias.bytes(page * PAGE, PAGE);
    return bytes.every((byte) => byte === bytes[0]) ? bytes[0] : undefined;
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#buffers) buffer.close();
    this.uffd.close();
    this.memory.close();
    this.alias.close();
  }

  #sink(channel: "main" | "preempt", index: number): HugePageSink {
    const { map, state, uffd, received, claimed, requested } = this;
    const landed = (page: number) => void this.landed.push(page);
    const bitmaps = { received, claimed, requested };
    const buffer = this.#buffers[index]!;
    const sink = new HugePageSink(map, state, uffd.fd, bitmaps, channel, landed, buffer);
    sink.select(0);
    sink.listen();
    return sink;
  }
}

/** Numbers of the target pages of a host page, in any order. */
function parts(hostPage: number, random: Random): number[] {
  const pages = Array.from({ length: PARTS }, (_, part) => hostPage * PARTS + part);
  for (let at = PARTS - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [pages[at], pages[other]] = [pages[other]!, pages[at]!];
  }
  return pages;
}

/** A byte that tells pages apart; 0 for a zero page. */
const fillOf = (page: number, change = 0): number => page % 7 === 0 ? 0 : (page + change) % 251 + 1;

function give(sink: HugePageSink, pages: readonly number[], change = 0): void {
  const bytes = new Uint8Array(PAGE);
  for (const page of pages) {
    const fill = fillOf(page, change);
    if (fill === 0) sink.zeroPage(page * PAGE);
    else sink.page(page * PAGE, bytes.fill(fill), 0);
  }
}

function assertFills(memory: Memory, hostPage: number, change = 0): void {
  for (let page = hostPage * PARTS; page < (hostPage + 1) * PARTS; page++) {
    assertEquals(memory.fill(page), fillOf(page, change), `page ${page}`);
  }
}

Deno.test("HugePageSink lets nobody see a page larger than its room before all of it is there", async () => {
  using memory = new Memory();
  const pages = parts(1, new Random(5));
  memory.requested.add(PARTS);
  using thread = new FaultingThread(memory.memory.address + LARGE + 3 * PAGE);
  give(memory.main, pages.slice(1));
  assertEquals([memory.received.count(0, HOST_PAGES * PARTS), memory.landed], [0, []]);
  assert(!thread.isThrough);
  give(memory.main, pages.slice(0, 1));
  const word = fillOf(PARTS + 3) * 0x0101_0101 | 0;
  assertEquals(await thread.found(), word);
  assertEquals(memory.received.count(0, HOST_PAGES * PARTS), PARTS);
  assertEquals([memory.landed, memory.state.received], [[PARTS], PARTS]);
  assertFills(memory, 1);
});

Deno.test("HugePageSink writes zeros over what a page held that was discarded", () => {
  using memory = new Memory();
  memory.alias.bytes().fill(0xee);
  give(memory.main, parts(0, new Random(6)));
  assertFills(memory, 0);
});

Deno.test("HugePageSink leaves a page to the channel that began it, whatever another brings", () => {
  using memory = new Memory();
  const pages = parts(0, new Random(7));
  give(memory.main, pages.slice(0, 10));
  give(memory.preempt, parts(0, new Random(8)), 1);
  assertEquals(memory.received.count(0, PARTS), 0);
  give(memory.main, pages.slice(10));
  assertEquals(memory.received.count(0, PARTS), PARTS);
  assertFills(memory, 0);
  assertEquals(memory.state.duplicates, PARTS);
  // Behind that too: the guest may have written to it.
  give(memory.preempt, parts(0, new Random(9)), 1);
  assertFills(memory, 0);
});

Deno.test("HugePageSink.restart leaves a page that was begun to whoever brings all of it", () => {
  using memory = new Memory();
  give(memory.main, parts(0, new Random(10)).slice(0, 100), 1);
  memory.main.restart();
  assertEquals(memory.claimed.count(0, PARTS), 0);
  give(memory.preempt, parts(0, new Random(11)));
  assertFills(memory, 0);
  assertEquals(memory.received.count(0, PARTS), PARTS);
});

Deno.test("HugePageSink refuses a page twice, and one of another, inside of a page larger than its room", () => {
  using memory = new Memory();
  give(memory.main, [1, 2]);
  assertThrows(() => give(memory.main, [2]), MigrationError, "Page came twice in one host page");
  assertThrows(() => give(memory.main, [PARTS + 1]), MigrationError, "Non-same host page");
});

Deno.test("forgetBegun gives free what a task began that is no more, and nothing that is in place", () => {
  using memory = new Memory();
  give(memory.main, parts(0, new Random(12)));
  give(memory.preempt, parts(1, new Random(13)).slice(0, 3));
  forgetBegun(memory.map.layout, memory.claimed);
  assertEquals(memory.claimed.count(0, HOST_PAGES * PARTS), PARTS);
  assertEquals(memory.claimed.count(), memory.received.count());
});
