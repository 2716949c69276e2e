/** Pages that a thread which compresses leaves behind: none is lost, and none is sent half packed. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory, viewMemory } from "../../ffi/memory.ts";
import { PACKED_BYTES, SLOT_BYTES } from "../../migration/compression.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { IgnoreStream, StreamDecoder, StreamEncoder } from "../../migration/protocol/mod.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { CompressionCounters } from "../../server/compression/compression_counters.ts";
import { BYTES_WORD, SLOT_WORDS } from "../../server/compression/compression_slots.ts";
import { CompressingPages } from "../../server/sending/compressing_pages.ts";
import { PageRecords } from "../../server/sending/page_records.ts";

const PAGE = 4096;
const PAGES = 8;
const SHAPE = { workers: 1, words: SLOT_WORDS };

/** What came: pages as they are by what they are full of, and the first byte of compressed ones. */
class Arrived extends IgnoreStream {
  readonly pages: string[] = [];

  override page(offset: number, bytes: Uint8Array, at: number): void {
    const page = bytes.subarray(at, at + PAGE);
    assert(page.every((byte) => byte === page[0]));
    this.pages.push(`${offset / PAGE} plain ${page[0]}`);
  }

  override compressedPage(offset: number, bytes: Uint8Array, at: number): void {
    this.pages.push(`${offset / PAGE} compressed ${bytes[at]}`);
  }
}

Deno.test("CompressingPages sends pages as they are that a thread left which died, and those after them", () => {
  using memory = MappedMemory.anonymous(PAGES * PAGE);
  for (let page = 0; page < PAGES; page++) {
    memory.bytes().fill(page + 1, page * PAGE, (page + 1) * PAGE);
  }
  const layout = new RamLayout([{ name: "ram", usedLength: PAGES * PAGE }]);
  const { address, length } = memory;
  const pages = { imageAddress: address, imageLength: length, pageSize: PAGE };
  const locator = new PageLocator({ kind: "flat", ...pages, runs: [{ firstPage: 0, offset: 0 }] });
  using records = new PageRecords(layout, locator, 64);
  using wake = new Eventfd();
  const rings = new WorkRings(SHAPE);
  rings.wakeFd = wake.fd;
  using slots = MappedMemory.anonymous(rings.slots * SLOT_BYTES);
  const counters = new CompressionCounters(new SharedArrayBuffer(CompressionCounters.BYTES), 0);
  const init = { shape: SHAPE, rings: rings.buffer, memory: slots.address, wait: true };
  const saver = new CompressingPages(records, init, PAGE, counters);
  const worker = new WorkRing(SHAPE, rings.buffer, 0);
  worker.enter();
  records.begin();
  for (let page = 0; page < 4; page++) {
    assertEquals(saver.prepare(), "save");
    saver.save(page);
  }
  memory.bytes().fill(99, 0, 4 * PAGE); // the guest goes on writing: the copies count
  assertEquals(saver.prepare(), "wait");
  const pack = (slot: number) => {
    const at = slots.address + slot * SLOT_BYTES + PAGE;
    viewMemory(at, PACKED_BYTES).fill(0xaa);
  };
  const first = worker.next();
  pack(first);
  worker.words[worker.at(first) + BYTES_WORD] = 100;
  worker.finish();
  // It dies in the middle of the second page.
  const second = worker.next();
  pack(second);
  worker.words[worker.at(second) + BYTES_WORD] = 200;
  worker.bury();
  assertEquals(saver.prepare(), "send");
  assert(saver.settle());
  assertEquals([saver.outstanding, rings.outstanding], [0, 0]);
  records.end();
  const arrived = new Arrived();
  const decoder = new StreamDecoder(arrived);
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration({ machine: "pc" });
  encoder.sectionStart(2, "ram", 0, 4);
  encoder.blockList(PAGES * PAGE);
  encoder.blockEntry({ name: "ram", usedLength: PAGES * PAGE });
  decoder.feed(encoder.take());
  decoder.feed(records.gather.copyRest());
  assertEquals(arrived.pages.toSorted(), [
    "0 compressed 170",
    ...["1 plain 2", "2 plain 3", "3 plain 4"],
  ]);
  assertEquals([counters.pages, counters.failed, counters.busy], [1, 3, 0]);
  saver.sent();
  records.begin();
  for (const page of [5, 6, 7]) {
    assertEquals(saver.prepare(), "save");
    saver.save(page);
  }
  assertEquals([records.pages, counters.busy], [3, 3]);
});
