import { assertEquals, assertGreater } from "@std/assert";
import {
  deviceSections,
  RamDecoder,
  ReturnPathDecoder,
  type ReturnPathHandler,
  splitPackage,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import { findRecording, sharedRecordings } from "../../tools/recordings.ts";
import { readRecording } from "../support/fixtures.ts";
import { RECOVERIES, WIRES } from "../support/recorded.ts";
import { firstOf, needsRecording, testUnless } from "../support/skip.ts";
import { CAME, LedgerStream, PageLedger } from "./page_ledger.ts";

/** Figures of the shared recordings; others are held against themselves and QEMU's own count. */
interface Figures {
  /** All pages of the recorded guest: 64 MiB and its ROMs and video memory. */
  readonly pages: number;
  /** Pages that came before the switchover and were not discarded at it. */
  readonly kept: number;
  readonly preempted: number;
  readonly requests: number;
}
const GUEST = { pages: 20_626, kept: 256 };
const KNOWN: ReadonlyMap<string, Figures> = new Map(
  sharedRecordings
    ? [
      ["wire-qemu72-to-72", { ...GUEST, preempted: 31, requests: 139 }],
      ["wire-qemu72-to-111", { ...GUEST, preempted: 37, requests: 375 }],
      ["wire-qemu111-to-111", { ...GUEST, preempted: 5244, requests: 5352 }],
    ]
    : [],
);

/** What the recordings made here say of themselves, in QEMU's words. */
function requestsOf(directory: string): number | undefined {
  const url = findRecording(`${directory}/statistics.json`);
  return url && (JSON.parse(Deno.readTextFileSync(url)) as { requests: number }).requests;
}

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

for (const { directory, since10 } of WIRES) {
  const known = KNOWN.get(directory);
  const reason = needsWire(directory);

  testUnless(reason, `${directory}: every page comes exactly once`, () => {
    const { ledger } = decodeWire(directory);
    const count = {
      pages: ledger.count(0),
      kept: ledger.count(CAME.PRECOPY),
      preempted: ledger.count(CAME.PREEMPT),
    };
    assertGreater(Math.min(...Object.values(count)), 0);
    if (known !== undefined) assertEquals({ ...count, requests: known.requests }, known);
    assertEquals(ledger.sentTwice, 0);
    assertEquals(ledger.count(CAME.MAIN), count.pages - count.kept - count.preempted);
  });

  testUnless(reason, `${directory}: preempt carries requested pages and nothing else`, () => {
    const { ledger, back } = decodeWire(directory);
    assertEquals(ledger.count(CAME.PREEMPT, CAME.REQUESTED), 0);
    // No page is asked for twice; the others were on their way on the main channel already.
    const requests = known?.requests ?? requestsOf(directory)!;
    assertEquals([back.requests, ledger.count(CAME.REQUESTED)], [requests, requests]);
    assertEquals(ledger.count(CAME.REQUESTED | CAME.MAIN), requests - ledger.count(CAME.PREEMPT));
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
    assertGreater(names.length, 30);
    assertEquals([names.includes("cpu"), names.at(-1)], [true, "globalstate"]);
  });
}

/** Pages that the shared recording's guest asked for before the cut, lacked after it, and had lost. */
const KNOWN_RECOVERY = new Map(
  sharedRecordings ? [["wire-qemu111-recovery", [1496, 7922, 16]]] : [],
);

for (const directory of RECOVERIES) {
  testUnless(
    needsWire(directory, "conn2.s2d", "conn2.d2s", "conn3.s2d"),
    `${directory}: what the receive bitmaps lack comes exactly once after the cut`,
    () => {
      const { ledger, back } = decodeWire(directory, true);
      const sent = CAME.PRECOPY | CAME.MAIN | CAME.PREEMPT;
      const lacking = ledger.count(0, sent);
      assertEquals(ledger.sentTwice, 0);
      assertGreater(lacking, 0);

      const backAgain = new LedgerReturnPath(ledger);
      new ReturnPathDecoder(backAgain).feed(readRecording(`${directory}/conn2.d2s.zst`));
      assertEquals(backAgain.order, ["bitmaps", "resume ack 1", "requests", "shut 0"]);
      assertEquals(ledger.count(CAME.BITMAP, sent), 0);
      // Some pages may have been on the wire when it was cut: sent, but lost.
      const lost = ledger.count(0, CAME.BITMAP) - lacking;
      const known = KNOWN_RECOVERY.get(directory);
      if (known !== undefined) assertEquals([back.requests, lacking, lost], known);
      for (const pages of ledger.blocks.values()) {
        for (let page = 0; page < pages.length; page++) {
          if ((pages[page]! & CAME.BITMAP) === 0) pages[page]! &= ~sent;
        }
      }

      const blocks = ledger.blocks.size;
      const main = new LedgerStream(ledger, CAME.MAIN);
      const preempt = new LedgerStream(ledger, CAME.PREEMPT);
      const resumed = new StreamDecoder(main, { resumed: true });
      resumed.feed(readRecording(`${directory}/conn2.s2d.zst`));
      resumed.finish();
      new RamDecoder(preempt).feed(readRecording(`${directory}/conn3.s2d.zst`));
      assertEquals(main.order.filter((kind) => kind === "receive-bitmap").length, blocks);
      assertEquals(main.order.slice(blocks), ["resume", "ram parts", "ram end", "end of stream"]);
      assertEquals([ledger.sentTwice, ledger.count(0, sent)], [0, 0]);
      assertEquals(ledger.count(CAME.REQUESTED, sent), 0);
    },
  );
}
