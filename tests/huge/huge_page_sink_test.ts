import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { BlockMap } from "../../client/placing/block_map.ts";
import { DestinationState } from "../../client/placing/destination_state.ts";
import { HugePageSink } from "../../client/placing/huge_page_sink.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { HUGE } from "./huge_pages.ts";

const PAGE = 4096;
const GIB = 2 ** 30;
/** In the first GiB, and at the same places in the two above it. */
const LOW = [0, 5 * PAGE, GIB - PAGE];
const HIGH = [GIB, GIB + 5 * PAGE, 2 * GIB - PAGE, 2 * GIB, 2 * GIB + 5 * PAGE];

/**
 * A sink before LISTEN, when it writes pages as they come. It asks nothing of the memory then, so a
 * block of 2 GiB lies in memory that is not made of huge pages, of which only the pages written exist.
 */
class Sink implements Disposable {
  readonly memory = MappedMemory.anonymous(2 * GIB + HUGE);
  readonly sink: HugePageSink;
  readonly received: PageBitmap;
  readonly #buffer = new ReceiveBuffer(PAGE);

  constructor() {
    const { address, length } = this.memory;
    const map = new BlockMap({
      blocks: [{ name: "ram", address, length, fd: -1, pageSize: HUGE }],
      targetPageSize: PAGE,
      shared: false,
      aliases: [address],
    });
    const bitmap = () => new PageBitmap(map.layout.pageLimit);
    this.received = bitmap();
    const bitmaps = { received: this.received, claimed: bitmap(), requested: bitmap() };
    const state = new DestinationState();
    const asked = () => {
      throw new Error("Nobody asked for a page");
    };
    this.sink = new HugePageSink(map, state, -1, bitmaps, "main", asked, this.#buffer);
    this.sink.select(0);
  }

  /** Gives it pages that are full of a byte. */
  write(offsets: readonly number[], fill: number): void {
    const page = new Uint8Array(PAGE).fill(fill);
    for (const offset of offsets) this.sink.page(offset, page, 0);
  }

  /** What the pages are full of. */
  fills(offsets: readonly number[]): (number | undefined)[] {
    return offsets.map((offset) => {
      const bytes = this.memory.bytes(offset, PAGE);
      return bytes.every((byte) => byte === bytes[0]) ? bytes[0] : undefined;
    });
  }

  [Symbol.dispose](): void {
    this.#buffer.close();
    this.memory.close();
  }
}

Deno.test("HugePageSink puts pages above 1 GiB of a block in their place before LISTEN", () => {
  using sink = new Sink();
  sink.write(LOW, 1);
  sink.write(HIGH, 2);
  assertEquals([sink.fills(LOW), sink.fills(HIGH)], [[1, 1, 1], [2, 2, 2, 2, 2]]);
  assertEquals(sink.received.count(0, sink.memory.length / PAGE), LOW.length + HIGH.length);
});

Deno.test("HugePageSink puts zeros above 1 GiB of a block in their place before LISTEN", () => {
  using sink = new Sink();
  sink.write([...LOW, ...HIGH], 1);
  for (const offset of HIGH) sink.sink.zeroPage(offset);
  assertEquals([sink.fills(LOW), sink.fills(HIGH)], [[1, 1, 1], [0, 0, 0, 0, 0]]);
});

Deno.test("HugePageSink.present finds pages above 1 GiB of a block before LISTEN", () => {
  using sink = new Sink();
  sink.write(LOW, 1);
  for (const [index, offset] of HIGH.entries()) sink.write([offset], 10 + index);
  for (const [index, offset] of HIGH.entries()) {
    assertEquals(sink.sink.present(offset), new Uint8Array(PAGE).fill(10 + index));
  }
  assertEquals(sink.sink.present(GIB + PAGE), undefined);
});
