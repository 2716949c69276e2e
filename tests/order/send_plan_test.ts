import { assertEquals, assertThrows } from "@std/assert";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import { earlyAct, MOST_RUNS, UNKNOWN_BYTES } from "../../server/order/early_policy.ts";
import { nameRuns } from "../../server/order/page_run.ts";
import { RequestLog } from "../../server/order/request_log.ts";
import { SendPlan } from "../../server/order/send_plan.ts";
import { unsentDiscards } from "../../server/order/unsent_discards.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;
const HUGE = 512 * PAGE;
const layout = new RamLayout([
  { name: "ram", usedLength: 100 * PAGE },
  { name: "rom", usedLength: PAGE },
  { name: "huge", usedLength: 4 * HUGE, pageSize: HUGE },
]);
const [ram, rom, huge] = layout.blocks.map(({ firstPage }) => firstPage) as [
  number,
  number,
  number,
];

function places(plan: SendPlan): number[] {
  return Array.from({ length: plan.count }, (_, place) => plan.at(place));
}

Deno.test("SendPlan.of has each host page once, where it is named first", () => {
  const plan = SendPlan.of(layout, [
    { block: "ram", offset: 7 * PAGE, length: 3 * PAGE },
    { block: "huge", offset: HUGE + 5 * PAGE },
    { block: "rom", offset: 0, length: 1 },
    { block: "ram", offset: 8 * PAGE - 1, length: 2 },
    { block: "huge", offset: HUGE - PAGE, length: 2 * PAGE },
  ]);
  assertEquals(places(plan), [ram + 7, ram + 8, ram + 9, huge + 512, rom, huge]);
  assertEquals([plan.early, plan.pages], [6, 4 + 2 * 512]);
});

Deno.test("SendPlan.of lets nothing go early from the first run on that may not", () => {
  const plan = SendPlan.of(layout, [
    { block: "ram", offset: 0 },
    { block: "ram", offset: PAGE, early: false },
    { block: "ram", offset: 2 * PAGE },
  ]);
  assertEquals([plan.count, plan.early], [3, 1]);
});

Deno.test("SendPlan.of refuses pages that are not there, by name", () => {
  const of = (block: string, offset: number, length?: number) =>
    assertThrows(
      () => SendPlan.of(layout, [{ block, offset, ...length === undefined ? {} : { length } }]),
      RangeError,
    ).message;
  assertEquals(
    of("pc.ram", 0),
    "Order with pages of an unknown RAM block: pc.ram: use ram, rom, huge",
  );
  const outside = "Order with pages outside RAM block rom of 4096 bytes: ";
  assertEquals(of("rom", PAGE), `${outside}4096 at 4096`);
  assertEquals(of("rom", -1, 1), `${outside}1 at -1`);
  assertEquals(of("rom", 0, 0), `${outside}0 at 0`);
  assertEquals(of("rom", NaN), `${outside}4096 at NaN`);
});

Deno.test("SendPlan counts each page once that is asked for although it is planned", () => {
  const plan = SendPlan.of(layout, [{ block: "ram", offset: 0 }, { block: "huge", offset: 0 }]);
  const other = new SendPlan(layout, plan.buffer);
  for (const page of [ram, ram, ram + 1, huge, huge]) other.noteRequest(page);
  assertEquals(plan.latePages, 1 + 512);
});

Deno.test("RequestLog keeps what it has room for, in order", () => {
  const small = new RamLayout([{ name: "ram", usedLength: 32 * PAGE }]);
  const log = new RequestLog(small);
  for (let turn = 0; turn < 40; turn++) log.add(31 - turn % 32);
  assertEquals(
    [...new RequestLog(small, log.buffer).read()],
    Array.from({ length: 32 }, (_, i) => 31 - i),
  );
});

Deno.test("nameRuns names pages that numberRun numbers again, a run for those that follow one another", () => {
  const pages = Int32Array.from([ram + 3, ram + 4, ram + 2, rom, ram + 99, huge, huge + 1]);
  assertEquals([...nameRuns(layout, pages, (place) => place < 1)], [
    { block: "ram", offset: 3 * PAGE, length: PAGE, early: true },
    { block: "ram", offset: 4 * PAGE, length: PAGE, early: false },
    { block: "ram", offset: 2 * PAGE, length: PAGE, early: false },
    { block: "rom", offset: 0, length: PAGE, early: false },
    { block: "ram", offset: 99 * PAGE, length: PAGE, early: false },
    { block: "huge", offset: 0, length: 2 * PAGE, early: false },
  ]);
});

Deno.test("unsentDiscards names every page that was not sent, and none that was", () => {
  const random = new Random(3);
  for (let round = 0; round < 40; round++) {
    const dirty = new PageBitmap(layout.pageLimit);
    for (const { firstPage, pageCount } of layout.blocks) dirty.fill(firstPage, pageCount);
    for (let count = random.below(120); count > 0; count--) {
      const block = random.pick(layout.blocks);
      const hostPages = block.pageCount / block.pagesPerHostPage;
      const at = block.firstPage + random.below(hostPages) * block.pagesPerHostPage;
      dirty.clear(at, block.pagesPerHostPage);
    }
    assertEquals(discarded(unsentDiscards(layout, dirty)), bits(dirty));
  }
});

function discarded(commands: readonly DiscardCommand[]): number[] {
  const pages = new PageBitmap(layout.pageLimit);
  for (const { block: name, ranges } of commands) {
    const { firstPage, pageSize, usedLength } = layout.find(name)!;
    for (const { start, length } of ranges) {
      assertEquals([start % pageSize, length % pageSize], [0, 0]);
      assertEquals(start + length <= usedLength, true);
      assertEquals(pages.fill(firstPage + start / PAGE, length / PAGE), length / PAGE);
    }
  }
  return bits(pages);
}

function bits(bitmap: PageBitmap): number[] {
  const found: number[] = [];
  for (let page = 0; page < bitmap.length; page++) if (bitmap.has(page)) found.push(page);
  return found;
}

Deno.test("earlyAct lets a batch go as long as all is there in time at the pace so far", () => {
  const seen = { elapsed: 50e6, idle: 0, sent: 5e6, unacknowledged: 0, runs: 1 };
  assertEquals(earlyAct(seen, 1e6, 100e6), "send");
  assertEquals(earlyAct(seen, 5.1e6, 100e6), "end");
  // Half of it has not been taken: the link is half as fast.
  assertEquals(earlyAct({ ...seen, unacknowledged: 2.5e6 }, 0.1e6, 100e6), "end");
  assertEquals(earlyAct({ ...seen, elapsed: 100e6 }, 1, 100e6), "end");
  // A disk that was waited for says nothing of the link.
  assertEquals(earlyAct({ ...seen, elapsed: 90e6, idle: 80e6 }, 4e6, 100e6), "send");
  assertEquals(earlyAct({ ...seen, elapsed: 90e6, idle: 80e6 }, 5.1e6, 100e6), "end");
});

Deno.test("earlyAct lets little go before the link is known, then waits for it, but not for longer than allowed", () => {
  const seen = { elapsed: 0, idle: 0, sent: 0, unacknowledged: 0, runs: 1 };
  assertEquals(earlyAct(seen, 65536, 1e6), "send");
  assertEquals(earlyAct({ ...seen, sent: 65536, unacknowledged: 65536 }, 65536, 1e6), "send");
  const filled = { ...seen, elapsed: 0.9e6, sent: UNKNOWN_BYTES, unacknowledged: UNKNOWN_BYTES };
  assertEquals(earlyAct(filled, 1, 1e6), "wait");
  assertEquals(earlyAct({ ...filled, elapsed: 1e6 }, 1, 1e6), "end");
  assertEquals(earlyAct(seen, 65536, 0), "end");
});

Deno.test("earlyAct ends where the destination would have to forget too many runs of pages", () => {
  const seen = { elapsed: 1, idle: 0, sent: 1e9, unacknowledged: 0, runs: MOST_RUNS };
  assertEquals(earlyAct(seen, 4096, 1e9), "end");
  assertEquals(earlyAct({ ...seen, runs: MOST_RUNS - 1 }, 4096, 1e9), "send");
});
