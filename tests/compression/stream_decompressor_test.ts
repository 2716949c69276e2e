import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { constants, createDeflate, createZstdCompress } from "node:zlib";
import { openStreamDecompressor } from "../../ffi/compression/stream_codec.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Random } from "../support/random.ts";

const METHODS = ["zlib", "zstd"] as const;
const ROOM = 1 << 20;

/** Compresses pieces as one stream, a flush behind each, and no end. */
async function compress(
  method: "zlib" | "zstd",
  pieces: readonly Uint8Array[],
): Promise<Uint8Array[]> {
  const stream = method === "zlib" ? createDeflate({ level: 1 }) : createZstdCompress();
  let out: Uint8Array[] = [];
  stream.on("data", (chunk: Uint8Array) => out.push(chunk));
  const flush = method === "zlib" ? constants.Z_SYNC_FLUSH : constants.ZSTD_e_flush;
  const packed: Uint8Array[] = [];
  for (const piece of pieces) {
    stream.write(piece);
    await new Promise<void>((resolve) => stream.flush(flush, () => resolve()));
    const length = out.reduce((sum, { length }) => sum + length, 0);
    const whole = new Uint8Array(length);
    let at = 0;
    for (const chunk of out) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    packed.push(whole);
    out = [];
  }
  stream.destroy();
  return packed;
}

function withMemory(test: (from: MappedMemory, to: MappedMemory) => void): void {
  using from = MappedMemory.anonymous(ROOM);
  using to = MappedMemory.anonymous(ROOM);
  test(from, to);
}

/** Content that refers back to what came before it, and content that cannot be compressed. */
function contents(random: Random): Uint8Array[] {
  const first = random.bytes(20_000);
  return [first, first, random.bytes(128 * 4096), new Uint8Array(128 * 4096), first.slice(0, 4096)];
}

for (const method of METHODS) {
  Deno.test(`StreamDecompressor of ${method} keeps its state from piece to piece, however they are cut`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = new Random(seed);
      const pieces = contents(random);
      const packed = await compress(method, pieces);
      withMemory((from, to) => {
        using stream = openStreamDecompressor(method);
        for (const [index, piece] of packed.entries()) {
          let written = 0;
          for (const part of random.split(piece, random.pick([10, 3000, ROOM]))) {
            from.bytes().set(part);
            const room = ROOM - written;
            const count = stream.decompress(from.address, part.length, to.address + written, room);
            assertEquals(count >= 0, true);
            written += count;
          }
          assertEquals(written, pieces[index]!.length, "all of a piece comes with its last byte");
          const same = to.bytes().subarray(0, written).every((byte, at) =>
            byte === pieces[index]![at]
          );
          assertEquals(same, true);
        }
      });
    }
  });

  Deno.test(`StreamDecompressor of ${method} refuses more than there is room for`, async () => {
    const [packed] = await compress(method, [new Uint8Array(300_000)]);
    withMemory((from, to) => {
      from.bytes().set(packed!);
      using exact = openStreamDecompressor(method);
      assertEquals(exact.decompress(from.address, packed!.length, to.address, 300_001), 300_000);
      using less = openStreamDecompressor(method);
      const result = less.decompress(from.address, packed!.length, to.address, 4096);
      // What it keeps back may be no more than what is written when there is room again.
      assertEquals(result === -1 || result === 4096, true);
      assertEquals(to.bytes()[300_001], 0);
    });
  });

  Deno.test(`StreamDecompressor of ${method} refuses what is damaged and never throws for it`, async () => {
    const [packed] = await compress(method, [new Random(7).bytes(9000)]);
    withMemory((from, to) => {
      for (let seed = 1; seed <= 200; seed++) {
        const random = new Random(seed);
        const bytes = packed!.slice();
        bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
        from.bytes().set(bytes);
        using stream = openStreamDecompressor(method);
        const result = stream.decompress(from.address, bytes.length, to.address, ROOM);
        assertEquals(result >= -1 && result <= ROOM, true);
      }
      from.bytes().set(new Random(1).bytes(500));
      using stream = openStreamDecompressor(method);
      assertEquals(stream.decompress(from.address, 500, to.address, ROOM), -1);
    });
  });

  Deno.test(`StreamDecompressor of ${method} is closed once, and refused afterwards`, () => {
    const stream = openStreamDecompressor(method);
    stream.close();
    stream.close();
    assertThrows(() => stream.decompress(0, 0, 0, 0), Error, "Codec is closed");
  });
}
