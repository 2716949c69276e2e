import { assertEquals } from "@std/assert";
import {
  deviceSections,
  RamDecoder,
  ReturnPathDecoder,
  type ReturnPathHandler,
  splitPackage,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import { readRecording } from "../support/fixtures.ts";
import { firstOf, needsRecording, testUnless } from "../support/skip.ts";
import { CAME, LedgerStream, PageLedger } from "./page_ledger.ts";

/** All pages of the recorded guest: 64 MiB and its ROMs and video memory. */
const PAGES = 20_626;
/** Pages that came before the switchover and were not discarded at it. */
const KEPT = 256;

/** Enters requests and receive bitmaps into a ledger and keeps the order of the rest. */
class LedgerReturnPath implements ReturnPathHandler {
  readonly order: string[] = [];
  readonly lengths = new Set<number>();
  requests = 0;
  readonly #ledger: PageLedger;
  #block = "";
  #page = 0;

  constructor(ledger: PageLedger) {
    this.#ledger = ledger;
  }

  shut(value: number): void {
    this.order.push(`shut ${value}`);
  }
  pong(value: number): void {
    this.order.push(`pong ${value}`);
  }
  requestPages(block: string, start: number, length: number): void {
    this.requests++;
    this.lengths.add(length);
    if (this.order.at(-1) !== "requests") this.order.push("requests");
    this.#ledger.mark(block, start, CAME.REQUESTED);
  }
  receivedBitmap(block: string): void {
    this.#block = block;
    this.#page = 0;
    if (this.order.at(-1) !== "bitmaps") this.order.push("bitmaps");
  }
  receivedBitmapData(bytes: Uint8Array, at: number, length: number): void {
    for (let bit = 0; bit < length * 8; bit++, this.#page++) {
      if (((bytes[at + (bit >>> 3)]! >>> (bit & 7)) & 1) === 1) {
        this.#ledger.mark(this.#block, this.#page * 4096, CAME.BITMAP);
      }
    }
  }
  receivedBitmapEnd(): void {}
  resumeAck(value: number): void {
    this.order.push(`resume ack ${value}`);
  }
  switchoverAck(): void {
    this.order.push("switchover ack");
  }
  extensions(names: readonly string[]): void {
    this.order.push(`extensions ${names}`);
  }
}

/** A recorded migration, decoded on all connections. */
function decodeWire(directory: string, cut = false): {
  ledger: PageLedger;
  main: LedgerStream;
  preempt: LedgerStream;
  back: LedgerReturnPath;
} {
  const ledger = new PageLedger();
  const main = new LedgerStream(ledger, CAME.PRECOPY);
  const preempt = new LedgerStream(ledger, CAME.PREEMPT);
  const back = new LedgerReturnPath(ledger);
  const mainDecoder = new StreamDecoder(main);
  mainDecoder.feed(readRecording(`${directory}/conn0.s2d.zst`));
  if (!cut) mainDecoder.finish();
  new RamDecoder(preempt).feed(readRecording(`${directory}/conn1.s2d.zst`));
  new ReturnPathDecoder(back).feed(readRecording(`${directory}/conn0.d2s.zst`));
  return { ledger, main, preempt, back };
}

function needsWire(directory: string, ...connections: string[]) {
  const needed = ["conn0.s2d", "conn1.s2d", "conn0.d2s", ...connections];
  return firstOf(...needed.map((each) => needsRecording(`${directory}/${each}.zst`)));
}

const WIRES = [
  { directory: "wire-qemu72-to-72", preempted: 31, requests: 139, since10: false },
  { directory: "wire-qemu72-to-111", preempted: 37, requests: 375, since10: false },
  { directory: "wire-qemu111-to-111", preempted: 5244, requests: 5352, since10: true },
];

for (const { directory, preempted, requests, since10 } of WIRES) {
  const reason = needsWire(directory);

  testUnless(reason, `${directory}: every page comes exactly once`, () => {
    const { ledger } = decodeWire(directory);
    assertEquals(ledger.sentTwice, 0);
    assertEquals(ledger.count(CAME.PRECOPY), KEPT);
    assertEquals(ledger.count(CAME.PREEMPT), preempted);
    assertEquals(ledger.count(CAME.MAIN), PAGES - KEPT - preempted);
  });

  testUnless(reason, `${directory}: preempt carries requested pages and nothing else`, () => {
    const { ledger, back } = decodeWire(directory);
    assertEquals(ledger.count(CAME.PREEMPT, CAME.REQUESTED), 0);
    // No page is asked for twice; the others were on their way on the main channel already.
    assertEquals([back.requests, ledger.count(CAME.REQUESTED)], [requests, requests]);
    assertEquals(ledger.count(CAME.REQUESTED | CAME.MAIN), requests - preempted);
    assertEquals([...back.lengths], [4096]);
  });

  testUnless(reason, `${directory}: elements and messages come in the documented order`, () => {
    const { main, preempt, back } = decodeWire(directory);
    assertEquals(main.order, [
      ...["open-return-path", "ping 1", "advise", "ram start", "ram parts"],
      ...(since10 ? ["switchover-start"] : []),
      ...["discard", "ping 2", "packaged", "ping 4", "ram parts", "ram end", "end of stream"],
    ]);
    assertEquals(main.commands.find(({ kind }) => kind === "advise"), {
      kind: "advise",
      ram: { pageSizeSummary: 4096, targetPageSize: 4096 },
    });
    assertEquals(back.order, [
      ...["pong 1", "pong 2", "pong 4", "pong 3"],
      ...(since10 ? ["pong 66"] : []),
      ...["requests", "shut 0"],
    ]);
    // Only 7.2 ends the preempt channel with a record of its own.
    assertEquals(preempt.ends, since10 ? 0 : 1);
  });

  testUnless(reason, `${directory}: the package is device state between commands`, () => {
    const { before, devices, after } = splitPackage(decodeWire(directory).main.package);
    assertEquals(before, [{ kind: "listen" }]);
    assertEquals(after, [
      { kind: "ping", value: 3 },
      ...(since10 ? [{ kind: "ping" as const, value: 0x42 }] : []),
      { kind: "run" },
    ]);
    const names = deviceSections(devices).map(({ name }) => name);
    assertEquals(names.length, 31);
    assertEquals([names.includes("cpu"), names.at(-1)], [true, "globalstate"]);
  });
}

const RECOVERY = "wire-qemu111-recovery";

testUnless(
  needsWire(RECOVERY, "conn2.s2d", "conn2.d2s", "conn3.s2d"),
  `${RECOVERY}: what the receive bitmaps lack comes exactly once after the cut`,
  () => {
    const { ledger, back } = decodeWire(RECOVERY, true);
    assertEquals([ledger.sentTwice, back.requests], [0, 1496]);
    const sent = CAME.PRECOPY | CAME.MAIN | CAME.PREEMPT;
    assertEquals(ledger.count(0, sent), 7922);

    const backAgain = new LedgerReturnPath(ledger);
    new ReturnPathDecoder(backAgain).feed(readRecording(`${RECOVERY}/conn2.d2s.zst`));
    assertEquals(backAgain.order, ["bitmaps", "resume ack 1", "requests", "shut 0"]);
    assertEquals(ledger.count(CAME.BITMAP, sent), 0);
    // Sixteen pages were on the wire when it was cut: sent, but lost.
    assertEquals(ledger.count(0, CAME.BITMAP), 7922 + 16);
    for (const pages of ledger.blocks.values()) {
      for (let page = 0; page < pages.length; page++) {
        if ((pages[page]! & CAME.BITMAP) === 0) pages[page]! &= ~sent;
      }
    }

    const main = new LedgerStream(ledger, CAME.MAIN);
    const preempt = new LedgerStream(ledger, CAME.PREEMPT);
    const resumed = new StreamDecoder(main, { resumed: true });
    resumed.feed(readRecording(`${RECOVERY}/conn2.s2d.zst`));
    resumed.finish();
    new RamDecoder(preempt).feed(readRecording(`${RECOVERY}/conn3.s2d.zst`));
    assertEquals(main.order.filter((kind) => kind === "receive-bitmap").length, 8);
    assertEquals(main.order.slice(8), ["resume", "ram parts", "ram end", "end of stream"]);
    assertEquals([ledger.sentTwice, ledger.count(0, sent)], [0, 0]);
    assertEquals(ledger.count(CAME.REQUESTED, sent), 0);
  },
);
