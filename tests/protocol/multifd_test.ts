import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  IgnoreStream,
  MULTIFD_METHOD,
  MultifdDecoder,
  MultifdEncoder,
  type MultifdHandler,
  ProtocolError,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import "../support/native.ts";
import { Random } from "../support/random.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { type LoggedPage, MultifdLog } from "./multifd_channel_log.ts";
import { MULTIFD_WIRES, readMultifd, sum } from "./multifd_recordings.ts";

/** Blocks as a brute-force receiver has them. */
class Memory {
  readonly blocks = new Map<string, Uint8Array<ArrayBuffer>>();

  put({ block, offset, bytes }: LoggedPage): void {
    const memory = this.blocks.get(block)!;
    if (bytes === undefined) memory.fill(0, offset, offset + 4096);
    else memory.set(bytes, offset);
  }
}

/** The main channel's own pages, by rounds, and where it waits. */
class MainLog extends IgnoreStream {
  readonly memory = new Memory();
  readonly rounds: LoggedPage[][] = [[]];
  #block = "";
  #flushes: boolean | undefined;
  #flushed = false;
  #section = false;

  override blockEntry({ name, usedLength }: { name: string; usedLength: number }): void {
    this.memory.blocks.set(name, new Uint8Array(usedLength));
  }

  override sectionStart(): void {
    this.#section = true;
  }

  override block(name: string): void {
    this.#block = name;
  }

  override zeroPage(offset: number): void {
    this.rounds.at(-1)!.push({ block: this.#block, offset });
  }

  override page(): void {
    throw new Error("A page on the main channel");
  }

  override multifdFlush(): void {
    this.#flushed = true;
    this.rounds.push([]);
  }

  override endOfSection(): void {
    if (this.#section) this.#flushes = this.#flushed;
    this.#section = false;
    if (!this.#flushes) this.rounds.push([]);
  }
}

function logOf(pieces: Iterable<Uint8Array>): MultifdLog {
  const log = new MultifdLog();
  const decoder = new MultifdDecoder(log);
  for (const piece of pieces) decoder.feed(piece);
  decoder.finish();
  return log;
}

for (const directory of MULTIFD_WIRES) {
  testUnless(
    needsRecording(directory),
    `MultifdDecoder gives the memory that ${directory} had, round by round`,
    async () => {
      const { main, channels, sums } = readMultifd(directory);
      const mainLog = new MainLog();
      new StreamDecoder(mainLog).feed(main);
      const logs = channels.map((bytes) => logOf([bytes]));
      const { memory, rounds } = mainLog;
      for (const [index, own] of rounds.entries()) {
        for (const page of [...own, ...logs.flatMap((log) => log.rounds[index] ?? [])]) {
          memory.put(page);
        }
      }
      for (const log of logs) {
        assertEquals(log.rounds.length, rounds.length, "waits of a channel and of the main one");
        assertEquals(log.rounds.at(-1), [], "pages behind the last wait");
        log[Symbol.dispose]();
      }
      assertEquals(new Set(logs.map(({ id }) => id)), new Set([0, 1]));
      for (const [name, wanted] of Object.entries(sums)) {
        assertEquals(await sum(memory.blocks.get(name)!), wanted, name);
      }
    },
  );

  testUnless(
    needsRecording(directory),
    `MultifdDecoder gives the same for any split of ${directory}`,
    () => {
      for (const [index, bytes] of readMultifd(directory).channels.entries()) {
        using whole = logOf([bytes]);
        for (const most of [3000, 50_000]) {
          const random = new Random(index + most);
          using split = logOf(random.split(bytes, most));
          assertEquals(split.packets, whole.packets);
          assert(sameRounds(split.rounds, whole.rounds), `pieces of up to ${most} bytes`);
        }
      }
    },
  );
}

/** Compares many pages; `assertEquals` would take minutes. */
function sameRounds(a: readonly LoggedPage[][], b: readonly LoggedPage[][]): boolean {
  const text = (rounds: readonly LoggedPage[][]) =>
    rounds.map((round) =>
      round.map(({ block, offset, bytes }) => [block, offset, bytes && checksum(bytes)].join())
    );
  return JSON.stringify(text(a)) === JSON.stringify(text(b));
}

function checksum(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, bytes.length);
}

Deno.test("MultifdDecoder gives what MultifdEncoder was given, for random packets in random pieces", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Random(seed);
    const pageSize = random.pick([1024, 4096, 65536]);
    const most = 512 * 1024 / pageSize;
    const encoder = new MultifdEncoder(pageSize);
    const id = random.below(255);
    const uuid = random.bytes(16);
    encoder.channel(id, uuid);
    const wanted: LoggedPage[][] = [[]];
    for (let number = random.between(1, 6); number > 0; number--) {
      const normal = Array.from(
        { length: random.below(Math.min(most, 9) + 1) },
        () => random.below(2 ** 36) * pageSize,
      );
      const zero = Array.from(
        { length: random.below(most - normal.length + 1) },
        () => random.below(1000) * pageSize,
      );
      const block = random.pick(["pc.ram", "b".repeat(255), "ö"]);
      const sync = random.oneIn(2);
      const pages = normal.map((offset) => ({ block, offset, bytes: random.bytes(pageSize) }));
      const some = normal.length + zero.length > 0;
      const named = some ? { block } : {};
      const payloadBytes = normal.length * pageSize;
      encoder.packet({ number, sync, normal, zero, payloadBytes, ...named });
      for (const { bytes } of pages) encoder.payload(bytes);
      wanted.at(-1)!.push(...pages, ...zero.map((offset) => ({ block, offset })));
      if (sync) wanted.push([]);
    }
    using log = new MultifdLog(pageSize);
    const decoder = new MultifdDecoder(log, { targetPageSize: pageSize });
    for (const piece of random.split(encoder.take(), random.pick([7000, 100_000]))) {
      decoder.feed(piece);
    }
    decoder.finish();
    assertEquals([log.id, log.uuid], [id, uuid]);
    assert(sameRounds(log.rounds, wanted), `seed ${seed}`);
  }
});

/** Ignores all. */
class Deaf implements MultifdHandler {
  payloads = 0;
  ends = 0;
  channel(): void {}
  packet(): void {}
  payload(): void {
    this.payloads++;
  }
  packetEnd(): void {
    this.ends++;
  }
}

/** A channel's first words and one packet, some words of which are others. */
function changed(words: Readonly<Record<number, number>>, name = "pc.ram"): Uint8Array {
  const encoder = new MultifdEncoder();
  encoder.channel(0);
  encoder.packet({ number: 1, block: name, normal: [0, 4096], zero: [8192], payloadBytes: 8192 });
  encoder.payload(new Uint8Array(8192));
  const bytes = encoder.take();
  const view = new DataView(bytes.buffer);
  for (const [at, word] of Object.entries(words)) view.setUint32(Number(at), word);
  return bytes;
}

const PACKET = 64;

/** What is wrong, the bytes, where the error lies, what its message says. */
const HOSTILE: readonly (readonly [string, Uint8Array, number, RegExp])[] = [
  ["another magic", changed({ 0: 0x51455600 }), 0, /expected 0x11223344 and version 1/],
  ["a channel of version 2", changed({ 4: 2 }), 0, /version 2/],
  ["a packet of another magic", changed({ [PACKET]: 7 }), PACKET, /found 0x7 and version 1/],
  ["a packet of version 9", changed({ [PACKET + 4]: 9 }), PACKET, /version 9/],
  ["an unknown flag", changed({ [PACKET + 8]: 0x80 }), PACKET + 8, /found 0x80$/],
  ["two methods at once", changed({ [PACKET + 8]: 0x06 }), PACKET + 8, /found 0x6$/],
  ["QPL", changed({ [PACKET + 8]: 0x08 }), PACKET + 8, /none, zlib or zstd: .* found qpl$/],
  ["UADK", changed({ [PACKET + 8]: 0x10 }), PACKET + 8, /found uadk$/],
  ["QATzip", changed({ [PACKET + 8]: 0x21 }), PACKET + 8, /found qatzip$/],
  ["129 pages", changed({ [PACKET + 16]: 128 }), PACKET + 16, /at most 128 pages, found 129/],
  ["2^32 - 1 pages", changed({ [PACKET + 16]: 0xffff_ffff }), PACKET + 16, /at most 128/],
  ["2^32 - 1 zero pages", changed({ [PACKET + 32]: 0xffff_ffff }), PACKET + 16, /at most 128/],
  ["content of another length", changed({ [PACKET + 20]: 8191 }), PACKET + 20, /8192 bytes of 2/],
  [
    "compressed pages without a byte",
    changed({ [PACKET + 8]: 2, [PACKET + 20]: 0 }),
    PACKET + 20,
    /1 to 1048576 bytes of 2 pages, found 0/,
  ],
  [
    "compressed pages of 4 GiB",
    changed({ [PACKET + 8]: 4, [PACKET + 20]: 0xffff_ffff }),
    PACKET + 20,
    /found 4294967295 bytes/,
  ],
  ["an offset in a page", changed({ [PACKET + 324]: 5 }), PACKET + 320, /found a page at 0x5/],
  ["an offset of 2^53", changed({ [PACKET + 320]: 0x20_0000 }), PACKET + 320, /below 2\^53/],
  ["a block without a name", changed({ [PACKET + 64]: 0 }), PACKET + 64, /name/],
  [
    "a name without end",
    changed(
      Object.fromEntries(Array.from({ length: 64 }, (_, i) => [PACKET + 64 + i * 4, 0x61616161])),
    ),
    PACKET + 64,
    /at most 255 bytes/,
  ],
  ["a name not in UTF-8", changed({ [PACKET + 64]: 0xff000000 }), PACKET + 64, /UTF-8/],
  [
    "state of a device",
    changed({ [PACKET + 8]: 0x40, [PACKET + 12]: 0x76666900, [PACKET + 16]: 0 }),
    PACKET,
    /its state cannot be taken here, detach it, found vfi$/,
  ],
];

for (const [what, bytes, offset, message] of HOSTILE) {
  Deno.test(`MultifdDecoder refuses ${what}`, () => {
    for (const size of [bytes.length, 1]) {
      const decoder = new MultifdDecoder(new Deaf());
      const error = assertThrows(() => {
        for (let at = 0; at < bytes.length; at += size) {
          decoder.feed(bytes.subarray(at, at + size));
        }
      }, ProtocolError);
      assert(message.test(error.message), error.message);
      assertEquals(error.offset, offset);
    }
  });
}

Deno.test("MultifdDecoder reads no content behind an empty packet that keeps an old length, as 7.2 sends", () => {
  const bytes = changed({
    [PACKET + 8]: 1,
    [PACKET + 16]: 0,
    [PACKET + 32]: 0,
    [PACKET + 20]: 42818,
  });
  const deaf = new Deaf();
  const decoder = new MultifdDecoder(deaf);
  decoder.feed(bytes.subarray(0, bytes.length - 8192));
  decoder.finish();
  assertEquals([deaf.payloads, deaf.ends], [0, 1]);
});

Deno.test("MultifdDecoder takes packets that say any number of pages allocated", () => {
  for (const allocated of [0, 64, 12800]) {
    const deaf = new Deaf();
    new MultifdDecoder(deaf).feed(changed({ [PACKET + 12]: allocated }));
    assertEquals(deaf.ends, 1);
  }
});

Deno.test("MultifdDecoder says so when the input ends inside a packet, wherever", () => {
  const bytes = changed({});
  for (const cut of [0, 1, 63, 65, PACKET + 1343, PACKET + 1344, PACKET + 1345, bytes.length - 1]) {
    const decoder = new MultifdDecoder(new Deaf());
    decoder.feed(bytes.subarray(0, cut));
    const error = assertThrows(() => decoder.finish(), ProtocolError);
    assertEquals([error.code, decoder.atBoundary], ["truncated", false], `${cut}`);
  }
  for (const cut of [64, bytes.length]) {
    const decoder = new MultifdDecoder(new Deaf());
    decoder.feed(bytes.subarray(0, cut));
    decoder.finish();
    assert(decoder.atBoundary);
  }
});

Deno.test("MultifdDecoder stops behind a packet that its handler is held by, and goes on from there", () => {
  const encoder = new MultifdEncoder();
  encoder.channel(0);
  for (let number = 0; number < 3; number++) encoder.packet({ number, sync: true });
  const bytes = encoder.take();
  const handler = Object.assign(new Deaf(), { held: false });
  handler.packetEnd = () => {
    handler.ends++;
    handler.held = true;
  };
  const decoder = new MultifdDecoder(handler);
  let at = 0;
  for (let packets = 1; packets <= 3; packets++) {
    handler.held = false;
    at = decoder.decode(bytes, at, bytes.length);
    assertEquals([at, handler.ends], [64 + packets * 1344, packets]);
  }
});

Deno.test("MultifdDecoder meets damaged bytes with a ProtocolError or decodes them", () => {
  let refused = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed);
    const bytes = changed({});
    const flips = random.between(1, 4);
    for (let i = 0; i < flips; i++) bytes[random.below(400)]! ^= 1 << random.below(8);
    const decoder = new MultifdDecoder(new Deaf());
    try {
      for (const piece of random.split(bytes, 2000)) decoder.feed(piece);
      decoder.finish();
    } catch (error) {
      assert(error instanceof ProtocolError, `${seed}: ${error}`);
      refused++;
    }
  }
  assert(refused > 30 && refused < 300, `${refused}`);
});

Deno.test("MULTIFD_METHOD has one bit for each method", () => {
  const bits = Object.values(MULTIFD_METHOD).reduce<number>((all, bit) => all | bit, 0);
  assertEquals(bits, 0x3e);
});
