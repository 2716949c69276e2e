import "../support/native.ts";
import { assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { CompressionError } from "../../ffi/compression/codec.ts";
import {
  openStreamCompressor,
  openStreamDecompressor,
} from "../../ffi/compression/stream_codec.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { COMPRESSION_LEVELS } from "../../migration/compression.ts";
import { Random } from "../support/random.ts";

const ROOM = 1 << 20;

for (const method of ["zlib", "zstd"] as const) {
  for (const level of [COMPRESSION_LEVELS[method].least, 1, COMPRESSION_LEVELS[method].most]) {
    Deno.test(`StreamCompressor of ${method} at level ${level} flushes each piece, so that it can be read before the next`, () => {
      const random = new Random(level + 100);
      const first = random.bytes(20_000);
      const pieces = [first, first, random.bytes(128 * 4096), new Uint8Array(128 * 4096), first];
      using from = MappedMemory.anonymous(ROOM);
      using packed = MappedMemory.anonymous(ROOM);
      using to = MappedMemory.anonymous(ROOM);
      using compressor = openStreamCompressor(method, level);
      using decompressor = openStreamDecompressor(method);
      for (const piece of pieces) {
        from.bytes().set(piece);
        const length = compressor.compress(from.address, piece.length, packed.address, ROOM);
        assertGreater(length, 0);
        const written = decompressor.decompress(packed.address, length, to.address, ROOM);
        assertEquals(written, piece.length);
        assertEquals(to.bytes().slice(0, written), piece);
      }
    });
  }

  Deno.test(`StreamCompressor of ${method} goes on with one stream: what repeats a piece before is short`, () => {
    using from = MappedMemory.anonymous(ROOM);
    using packed = MappedMemory.anonymous(ROOM);
    using compressor = openStreamCompressor(method, 1);
    from.bytes().set(new Random(1).bytes(20_000));
    const first = compressor.compress(from.address, 20_000, packed.address, ROOM);
    const second = compressor.compress(from.address, 20_000, packed.address, ROOM);
    assertGreater(first, 19_000);
    assertLess(second, 1000);
  });

  Deno.test(`StreamCompressor of ${method} says so when a piece does not fit`, () => {
    using from = MappedMemory.anonymous(ROOM);
    using packed = MappedMemory.anonymous(ROOM);
    from.bytes().set(new Random(1).bytes(100_000));
    for (const room of [50, 50_000]) {
      using compressor = openStreamCompressor(method, 1);
      const compress = () => compressor.compress(from.address, 100_000, packed.address, room);
      assertThrows(compress, CompressionError, `100000 bytes do not fit into ${room}`);
    }
  });
}
