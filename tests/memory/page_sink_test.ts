/** Pages that are placed from where they came, against a model. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { BlockMap } from "../../client/placing/block_map.ts";
import { DestinationState } from "../../client/placing/destination_state.ts";
import { PageSink } from "../../client/placing/page_sink.ts";
import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { RegisterMode, registerRange, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;
const PAGES = 64;
/** Pages that a receipt has at most, and bytes before each: what stands between two in a stream. */
const RECEIVED = 24;
const HEAD = 8;

/** Memory of a destination before LISTEN, and what it must hold. */
class Placed implements Disposable {
  readonly expected = new Uint8Array(PAGES * PAGE);
  readonly came = new Set<number>();
  readonly state = new DestinationState();
  readonly landed: number[] = [];
  readonly received: PageBitmap;
  readonly requested: PageBitmap;
  readonly #uffd: Userfaultfd;
  readonly #memory: MappedMemory;
  readonly #alias: MappedMemory | undefined;
  readonly #buffer = new ReceiveBuffer(RECEIVED * (PAGE + HEAD) + PAGE);
  readonly #sink: PageSink;

  constructor(backing: Backing) {
    const shared = backing === "memfd";
    const features = shared ? UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM : 0n;
    this.#uffd = new Userfaultfd({ features });
    const length = PAGES * PAGE;
    this.#memory = shared ? MappedMemory.memfd(length, "test") : MappedMemory.anonymous(length);
    if (shared) {
      this.#alias = MappedMemory.alias(this.#memory.fd, length);
      // Some are in the page cache though nobody received them.
      this.#alias.bytes().fill(0xee, 7 * PAGE, 11 * PAGE);
    }
    const { address, fd } = this.#memory;
    const map = new BlockMap({
      blocks: [{ name: "ram", address, length, fd, pageSize: PAGE }],
      targetPageSize: PAGE,
      shared,
      aliases: [this.#alias?.address ?? address],
    });
    const mode = RegisterMode.MISSING | (shared ? RegisterMode.MINOR : 0n);
    registerRange(this.#uffd.fd, address, length, mode);
    const bitmap = () => new PageBitmap(map.layout.pageLimit);
    this.received = bitmap();
    this.requested = bitmap();
    const bitmaps = { received: this.received, claimed: bitmap(), requested: this.requested };
    const onLanded = (page: number) => void this.landed.push(page);
    const { fd: uffd } = this.#uffd;
    this.#sink = new PageSink(map, this.state, uffd, bitmaps, "main", onLanded, this.#buffer);
    this.#sink.select(0);
  }

  /**
   * Gives pages that came at once, and changes them behind the flush, as the next receipt does.
   *
   * @param heads whether something stands before each
   * @param stays whether their content stays where it came
   */
  give(random: Random, pages: readonly number[], heads: boolean, stays: boolean): void {
    const { bytes, address } = this.#buffer;
    let at = random.below(2) * 4;
    const places = pages.map((page) => {
      at += heads ? HEAD : 0;
      const content = random.oneIn(5) ? undefined : random.bytes(PAGE);
      if (content !== undefined) bytes.set(content, at);
      this.expected.set(content ?? new Uint8Array(PAGE), page * PAGE);
      const place = { page, at, zero: content === undefined };
      if (content !== undefined) at += PAGE;
      return place;
    });
    for (const { page, at, zero } of places) {
      this.came.add(page);
      if (zero) this.#sink.zeroPage(page * PAGE);
      else this.#sink.page(page * PAGE, bytes, at, stays ? address + at : 0);
    }
    this.#sink.flush();
    bytes.fill(0xdd, 0, at);
  }

  /** Compares what came; what did not would fault. */
  check(): void {
    for (const page of this.came) {
      const found = this.#memory.bytes(page * PAGE, PAGE);
      assertEquals(found, this.expected.subarray(page * PAGE, (page + 1) * PAGE), `page ${page}`);
    }
    assertEquals(this.received.count(0, PAGES), this.came.size);
    assertEquals(this.state.received, this.came.size);
  }

  [Symbol.dispose](): void {
    this.#buffer.close();
    this.#uffd.close();
    this.#memory.close();
    this.#alias?.close();
  }
}

/** Numbers of pages: runs of neighbours, one behind the other or apart, some more than once. */
function randomPages(random: Random): number[] {
  const pages: number[] = [];
  while (pages.length < RECEIVED) {
    let page = random.below(PAGES);
    for (let left = random.between(1, 12); left > 0 && page < PAGES; left--) {
      if (pages.length < RECEIVED) pages.push(page++);
      else break;
    }
  }
  return pages;
}

for (const backing of ["anonymous", "memfd"] as const) {
  Deno.test(`PageSink places pages in ${backing} memory from where they came, or gathered, and replaces them`, () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = new Random(seed);
      using placed = new Placed(backing);
      for (let receipt = 0; receipt < 20; receipt++) {
        placed.give(random, randomPages(random), random.oneIn(2), random.oneIn(2));
        placed.check();
      }
    }
  });
}

Deno.test("PageSink tells of pages that somebody asked for, wherever they lie", () => {
  using placed = new Placed("anonymous");
  placed.requested.add(3);
  placed.requested.add(9);
  placed.give(new Random(1), [2, 3, 4, 5], false, true);
  placed.give(new Random(2), [8, 9, 10], true, false);
  assertEquals(placed.landed, [3, 9]);
  placed.check();
});
