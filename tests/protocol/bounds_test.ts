import { assertEquals, assertThrows } from "@std/assert";
import {
  IgnoreStream,
  MAX_BLOCKS,
  MAX_ELEMENT_BYTES,
  ProtocolError,
  RamDecoder,
  ReturnPathDecoder,
  ReturnPathEncoder,
  StreamDecoder,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";

const HEADER = `5145564d 00000003`;
const RAM = `01 00000002 03 "ram" 00000000 00000004`;
const LIST = `${HEADER} ${RAM} 0000000000001004 06 "pc.ram" 0000000000001000`;
const PART = `${LIST} 0000000000000010 7e 00000002 02 00000002`;
const PAGE = `"${"p".repeat(4096)}"`;

const mapped = (fields: string) =>
  `${HEADER} 07 00000001 "q" 05 1a "configuration/capabilities" 00000001 00000001 0a "mapped-ram"
   ${RAM} 0000000000001004 06 "pc.ram" 0000000000001000 ${fields}`;

/** What is wrong, the bytes, the error's code, how many bytes before the end its offset lies. */
type Case = readonly [what: string, bytes: string, code: string, back: number];

const MAIN: readonly Case[] = [
  ["another magic", `5145564e 00000003`, "bad-header", 8],
  ["version 2", `5145564d 00000002`, "bad-header", 8],
  ["an unknown element", `${HEADER} 55`, "bad-element", 1],
  [
    "a configuration in the wrong place",
    `${PART} 0000000000000010 7e 00000002 07`,
    "bad-element",
    1,
  ],
  ["a footer without section", `${HEADER} 7e 00000002`, "bad-element", 5],
  ["a machine name of 4 GiB", `${HEADER} 07 ffffffff`, "bad-configuration", 4],
  ["an empty machine name", `${HEADER} 07 00000000`, "bad-name", 0],
  ["an unknown subsection", `${HEADER} 07 00000001 "q" 05 01 "x" 00000001`, "bad-configuration", 6],
  [
    "page bits of 200",
    `${HEADER} 07 00000001 "q" 05 1e "configuration/target-page-bits" 00000001 000000c8`,
    "bad-configuration",
    4,
  ],
  [
    "2^32 - 1 capabilities",
    `${HEADER} 07 00000001 "q" 05 1a "configuration/capabilities" 00000001 ffffffff`,
    "bad-configuration",
    4,
  ],
  ["a section without name", `${HEADER} 01 00000002 00 00000000 00000004`, "bad-name", 9],
  ["ram of version 5", `${HEADER} 01 00000002 03 "ram" 00000000 00000005`, "bad-section", 17],
  ["a part before ram's start", `${HEADER} 02 00000002`, "bad-section", 5],
  [
    "a part of another section",
    `${PART} 0000000000000010 7e 00000002 02 00000003`,
    "bad-section",
    5,
  ],
  ["a second start of ram", `${PART} 0000000000000010 7e 00000002 ${RAM}`, "bad-section", 17],
  ["a footer of another section", `${PART} 0000000000000010 7e 00000003`, "bad-section", 5],
  ["a section without footer", `${PART} 0000000000000010 08 00010000`, "bad-section", 5],
  [
    "a list longer than its total",
    `${HEADER} ${RAM} 0000000000001004 01 "a" 0000000000002000`,
    "bad-block-list",
    8,
  ],
  [
    "a block of no bytes",
    `${HEADER} ${RAM} 0000000000001004 01 "a" 0000000000000000`,
    "bad-block-list",
    8,
  ],
  ["a block without name", `${HEADER} ${RAM} 0000000000001004 00 0000000000001000`, "bad-name", 9],
  [
    "two blocks of one name",
    `${HEADER} ${RAM} 0000000000002004 01 "a" 0000000000001000 01 "a" 0000000000001000
     0000000000000010`,
    "bad-block-list",
    18,
  ],
  ["a page size of 3 pages", `${LIST} 0000000000003000`, "bad-block-list", 8],
  ["a list in a part", `${PART} 0000000000001004`, "bad-record", 8],
  ["mapped-ram of version 2", mapped(`00000002 ${"00".repeat(24)}`), "bad-block-list", 28],
  [
    "a bitmap before its header",
    mapped(`00000001 0000000000001000 0000000000000010 0000000000100000`),
    "bad-block-list",
    28,
  ],
  [
    "pages beyond 2^53",
    mapped(`00000001 0000000000001000 0000000000001000 0020000000000000`),
    "bad-block-list",
    28,
  ],
  ["the obsolete flag FULL", `${PART} 0000000000001001`, "bad-record", 8],
  ["the flag HOOK of RDMA", `${PART} 0000000000000080`, "bad-record", 8],
  ["two kinds of page at once", `${PART} 000000000000100a`, "bad-record", 8],
  ["an end with an offset", `${PART} 0000000000001010`, "bad-record", 8],
  ["a flush that continues", `${PART} 0000000000000220`, "bad-record", 8],
  ["an offset of 2^53", `${PART} 0020000000000008`, "bad-record", 8],
  ["an unnamed first page", `${PART} 0000000000001028`, "bad-record", 8],
  ["a page of no block", `${PART} 0000000000001002 00 00`, "bad-name", 2],
  ["a block not named in UTF-8", `${PART} 0000000000001002 01 ff 00`, "bad-name", 3],
  ["an XBZRLE page of 4097 bytes", `${PART} 0000000000001040 01 "a" 01 1001`, "bad-page", 3],
  ["XBZRLE of another encoding", `${PART} 0000000000001040 01 "a" 02 0001`, "bad-page", 3],
  ["a compressed page of 4 GiB", `${PART} 0000000000001100 01 "a" ffffffff`, "bad-page", 4],
  ["a compressed page of no bytes", `${PART} 0000000000001100 01 "a" 00000000`, "bad-page", 4],
  ["command 0", `${HEADER} 08 0000 0000`, "bad-command", 5],
  ["command 12", `${HEADER} 08 000c ffff`, "bad-command", 5],
  ["a PING of 65535 bytes", `${HEADER} 08 0002 ffff`, "bad-command", 5],
  ["an ADVISE of 8 bytes", `${HEADER} 08 0003 0008`, "bad-command", 5],
  ["a RUN with a payload", `${HEADER} 08 0005 0001`, "bad-command", 5],
  ["a discard too short", `${HEADER} 08 0006 0013`, "bad-command", 5],
  [
    "a discard with a long name",
    `${HEADER} 08 0006 0014 00 ff "${"a".repeat(18)}"`,
    "bad-command",
    20,
  ],
  [
    "a discard of version 1",
    `${HEADER} 08 0006 0014 01 01 "a" 00 ${"00".repeat(16)}`,
    "bad-command",
    20,
  ],
  [
    "a discard of nothing",
    `${HEADER} 08 0006 0014 00 01 "a" 00 ${"00".repeat(16)}`,
    "bad-command",
    16,
  ],
  [
    "a discard beyond 2^53",
    `${HEADER} 08 0006 0014 00 01 "a" 00 ${"ff".repeat(16)}`,
    "bad-command",
    16,
  ],
  ["an ADVISE beyond 2^53", `${HEADER} 08 0003 0010 ${"ff".repeat(16)}`, "bad-command", 16],
  ["a bitmap of another name", `${HEADER} 08 000a 0003 01 "ab"`, "bad-command", 3],
  ["absent pages without a run", `${HEADER} 08 5044 0003`, "bad-command", 5],
  ["absent pages with a long name", `${HEADER} 08 5044 0004 03 "abc"`, "bad-command", 4],
  ["absent pages of no block", `${HEADER} 08 5044 0004 00 00 01 00`, "bad-name", 4],
  ["absent pages of half a run", `${HEADER} 08 5044 0005 01 "a" 00 01 07`, "bad-command", 5],
  ["a run of no absent page", `${HEADER} 08 5044 0004 01 "a" 00 00`, "bad-command", 4],
  ["a number cut off", `${HEADER} 08 5044 0005 01 "a" 00 80 80`, "bad-command", 5],
  [
    "a number of six bytes",
    `${HEADER} 08 5044 0009 01 "a" 00 80 80 80 80 80 01`,
    "bad-command",
    9,
  ],
];

const PREEMPT: readonly Case[] = [
  ["a block list", `0000000000001004`, "bad-record", 8],
  ["a stream's header", `${HEADER}`, "bad-record", 8],
  ["an XBZRLE page", `0000000000001040`, "bad-record", 8],
  ["a compressed page", `0000000000001100`, "bad-record", 8],
  ["a flush", `0000000000000200`, "bad-record", 8],
  ["an unnamed first page", `0000000000001028`, "bad-record", 8],
  [
    "an offset of 2^53, after a page",
    `0000000000000008 01 "a" ${PAGE} 0020000000000028 ${PAGE}`,
    "bad-record",
    4104,
  ],
];

const RETURN_PATH: readonly Case[] = [
  ["message 0", `0000 0000`, "bad-message", 4],
  ["message 8", `0008 0000`, "bad-message", 4],
  ["a message of 600 bytes", `0003 0258`, "bad-message", 2],
  ["a SHUT of 8 bytes", `0001 0008`, "bad-message", 2],
  ["a PONG of no bytes", `0002 0000`, "bad-message", 2],
  ["an unnamed first request", `0004 000c 0000000000001000 00001000`, "bad-message", 16],
  ["a request of another name", `0003 000f 0000000000001000 00001000 01 "ab"`, "bad-message", 3],
  ["a request of no block", `0003 000d 0000000000001000 00001000 00`, "bad-message", 15],
  ["a request of no bytes", `0003 000e 0000000000001000 00000000 01 "a"`, "bad-message", 14],
  ["a request beyond 2^53", `0003 000e 001ffffffffff000 00001000 01 "a"`, "bad-message", 14],
  ["a bitmap of 9 bytes", `0005 0002 01 "a" 0000000000000009`, "bad-bitmap", 8],
  ["a bitmap of 2^56 bytes", `0005 0002 01 "a" 0100000000000000`, "bad-bitmap", 8],
  [
    "a bitmap with another end mark",
    `0005 0002 01 "a" 0000000000000000 0123456789abcdee`,
    "bad-bitmap",
    8,
  ],
  ["an extension's name beyond the end", `5043 0004 05 "zst"`, "bad-message", 4],
  ["an extension without a name", `5043 0001 00`, "bad-name", 1],
  ["extensions of 513 bytes", `5043 0201`, "bad-message", 2],
  ["a byte after SHUT", `0001 0004 00000000 00`, "bad-message", 1],
];

interface Feedable {
  feed(chunk: Uint8Array): void;
  finish(): void;
}

const CHANNELS: readonly [string, readonly Case[], () => Feedable][] = [
  ["StreamDecoder", MAIN, () => new StreamDecoder(new IgnoreStream())],
  ["RamDecoder", PREEMPT, () => new RamDecoder(new IgnoreStream())],
  ["ReturnPathDecoder", RETURN_PATH, () => new ReturnPathDecoder(new ReturnPathEncoder())],
];

for (const [name, cases, decoder] of CHANNELS) {
  for (const [what, text, code, back] of cases) {
    Deno.test(`${name} refuses ${what}`, () => {
      const bytes = hexBytes(text);
      for (const size of [bytes.length, 1]) {
        const fed = decoder();
        const error = assertThrows(() => {
          for (let at = 0; at < bytes.length; at += size) fed.feed(bytes.subarray(at, at + size));
          fed.finish();
        }, ProtocolError);
        assertEquals([error.code, error.offset], [code, bytes.length - back], error.message);
      }
    });
  }
}

Deno.test("StreamDecoder passes over whatever stands behind the end, as QEMU does", () => {
  for (const end of [`00`, `00 06 00000002 "{}"`]) {
    for (
      const behind of [`00`, `08`, `07 ff 06`, `06 00000005 "{}"`].slice(0, end === "00" ? 3 : 4)
    ) {
      const bytes = hexBytes(`${HEADER} ${end} ${behind}`);
      for (const size of [bytes.length, 1]) {
        const decoder = new StreamDecoder(new IgnoreStream());
        for (let at = 0; at < bytes.length; at += size) decoder.feed(bytes.subarray(at, at + size));
        decoder.finish();
        assertEquals(decoder.offset, bytes.length);
      }
    }
  }
});

Deno.test("StreamDecoder refuses a list of a billion blocks at the first too many", () => {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.sectionStart(2, "ram", 0, 4);
  encoder.blockList(1e9 * 4096);
  const decoder = new StreamDecoder(new IgnoreStream());
  decoder.feed(encoder.take());
  let blocks = 0;
  const error = assertThrows(() => {
    for (; blocks < 1e9; blocks++) {
      encoder.blockEntry({ name: `block${blocks}`, usedLength: 4096 });
      decoder.feed(encoder.take());
    }
  }, ProtocolError);
  assertEquals(error.code, "bad-block-list");
  // Whether an entry has a page size is only known from the byte behind it, hence the one more.
  assertEquals(blocks, MAX_BLOCKS + 1);
});

Deno.test("StreamDecoder passes on a package of 4 GiB without keeping any of it", () => {
  let passed = 0;
  class Count extends IgnoreStream {
    override packagedData(_bytes: Uint8Array, _at: number, length: number): void {
      passed += length;
    }
  }
  const decoder = new StreamDecoder(new Count());
  const head = hexBytes(`${HEADER} 08 0007 0004 ffffffff`);
  assertEquals(decoder.decode(head, 0, head.length), head.length);
  const piece = new Uint8Array(1 << 20);
  for (let i = 0; i < 4095; i++) decoder.decode(piece, 0, piece.length);
  assertEquals(decoder.atBoundary, false);
  assertEquals(decoder.decode(piece, 0, piece.length - 1), piece.length - 1);
  assertEquals(passed, 0xffff_ffff);
  assertEquals(decoder.atBoundary, true);
});

Deno.test("StreamDecoder gets on with the longest element in MAX_ELEMENT_BYTES", () => {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration({ machine: "virt", targetPageBits: 16 });
  encoder.sectionStart(2, "ram", 0, 4);
  encoder.block("x".repeat(255));
  encoder.page(0, new Uint8Array(65536), 0);
  encoder.compressedPage(0, new Uint8Array(73000), 0, 73000);
  encoder.endOfSection();
  encoder.sectionFooter(2);
  const ranges = Array.from({ length: 4079 }, () => ({ start: 0, length: 1 }));
  encoder.command({ kind: "discard", block: "x".repeat(255), ranges });
  const bytes = encoder.take();
  const decoder = new StreamDecoder(new IgnoreStream());
  const window = new Uint8Array(MAX_ELEMENT_BYTES);
  let at = 0;
  while (at < bytes.length) {
    const length = Math.min(MAX_ELEMENT_BYTES, bytes.length - at);
    window.set(bytes.subarray(at, at + length));
    const decoded = decoder.decode(window, 0, length);
    assertEquals(decoded > 0, true, `at ${at}`);
    at += decoded;
  }
  decoder.finish();
});
