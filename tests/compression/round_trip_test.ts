import { assert, assertEquals, assertThrows } from "@std/assert";
import { deflateSync, inflateSync } from "node:zlib";
import { CompressionError, openCompressor, Unpacked } from "../../ffi/compression/codec.ts";
import { openDecompressor } from "../../ffi/compression/codec.ts";
import { PACKED_BYTES } from "../../migration/compression.ts";
import { testUnless } from "../support/skip.ts";
import { KINDS, levelsOf, LIBRARIES, librariesOf, packed, pageOf } from "./libraries.ts";

const GUARD = 64;
const GUARD_BYTE = 0xa7;

/** Memory between guard bytes. */
function guarded(length: number): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly guards: Uint8Array<ArrayBuffer>[];
} {
  const all = new Uint8Array(GUARD + length + GUARD).fill(GUARD_BYTE);
  const guards = [all.subarray(0, GUARD), all.subarray(GUARD + length)];
  return { bytes: all.subarray(GUARD, GUARD + length), guards };
}

function assertGuards(guards: readonly Uint8Array[]): void {
  for (const guard of guards) assert(guard.every((byte) => byte === GUARD_BYTE));
}

for (const { method, library, skip } of LIBRARIES) {
  const name = library.library;

  testUnless(skip, `${name} returns every kind of page at every level of ${method}`, () => {
    const decompressors = librariesOf(method).map((each) => each.decompressor());
    const to = new Uint8Array(PACKED_BYTES);
    const copy = new Uint8Array(4096);
    for (const level of levelsOf(method)) {
      using compressor = library.compressor(level);
      for (const kind of KINDS) {
        for (let number = 0; number < 3; number++) {
          const page = pageOf(kind, number);
          const length = compressor.compress(page, to);
          assert(length > 0 && length < 4200, `${kind} page at level ${level}: ${length} bytes`);
          for (const decompressor of decompressors) {
            copy.fill(0xee);
            assertEquals(decompressor.decompress(to, length, copy), Unpacked.PAGE);
            assertEquals(copy, page);
          }
          if (method !== "zlib") continue;
          assertEquals(new Uint8Array(inflateSync(to.subarray(0, length))), page);
        }
      }
    }
    for (const decompressor of decompressors) decompressor.close();
  });

  testUnless(skip, `${name} writes nothing outside of the memory it was given`, () => {
    const levels = levelsOf(method);
    for (const level of [levels[0]!, 1, levels.at(-1)!]) {
      using compressor = library.compressor(level);
      using decompressor = library.decompressor();
      for (const kind of KINDS) {
        const page = pageOf(kind);
        const { length: size } = packed(library, level, page);
        for (const room of [1, 7, 64, size - 1, size, size + 1, 4096, PACKED_BYTES]) {
          const { bytes, guards } = guarded(room);
          const length = compressor.compress(page, bytes);
          assertGuards(guards);
          assert(length === 0 || (length <= room && length <= size + 8), `${length} in ${room}`);
          if (room >= 2 * 4096) assertEquals(length, size);
          if (length === 0) continue;
          const copy = guarded(4096);
          const from = guarded(PACKED_BYTES);
          from.bytes.set(bytes.subarray(0, length));
          assertEquals(decompressor.decompress(from.bytes, length, copy.bytes), Unpacked.PAGE);
          assertGuards([...copy.guards, ...from.guards]);
          assertEquals(copy.bytes, page);
        }
      }
    }
  });

  testUnless(
    skip,
    `${name} returns a page whose compressed form ends anywhere in its memory`,
    () => {
      using decompressor = library.decompressor();
      const page = pageOf("text");
      const { bytes, length } = packed(library, 1, page);
      for (let rest = 0; rest < 64; rest++) {
        const from = guarded(length + rest);
        from.bytes.set(bytes.subarray(0, length));
        const copy = new Uint8Array(4096);
        assertEquals(decompressor.decompress(from.bytes, length, copy), Unpacked.PAGE);
        assertEquals(copy, page);
        assertGuards(from.guards);
      }
    },
  );

  testUnless(skip, `${name} goes on after a page that did not fit and one that was damaged`, () => {
    using compressor = library.compressor(1);
    using decompressor = library.decompressor();
    const page = pageOf("text");
    const to = new Uint8Array(PACKED_BYTES);
    const copy = new Uint8Array(4096);
    for (let round = 0; round < 3; round++) {
      assertEquals(compressor.compress(page, new Uint8Array(100)), 0);
      const length = compressor.compress(page, to);
      assertEquals(decompressor.decompress(to, length - 5, copy), Unpacked.DAMAGED);
      assertEquals(compressor.compress(page, to), length);
      assertEquals(decompressor.decompress(to, length, copy), Unpacked.PAGE);
      assertEquals(copy, page);
    }
  });

  testUnless(skip, `${name} is closed twice without harm and refuses to work then`, () => {
    const compressor = library.compressor(1);
    const decompressor = library.decompressor();
    const page = new Uint8Array(4096);
    const to = new Uint8Array(PACKED_BYTES);
    const length = compressor.compress(page, to);
    for (const codec of [compressor, decompressor]) {
      codec.close();
      codec.close();
      codec[Symbol.dispose]();
    }
    assertThrows(() => compressor.compress(page, to), Error, "Codec is closed");
    assertThrows(() => decompressor.decompress(to, length, page), Error, "Codec is closed");
  });

  testUnless(skip, `${name} reads no further than the memory of the compressed form`, () => {
    using decompressor = library.decompressor();
    const page = new Uint8Array(4096);
    for (const length of [-1, 101]) {
      assertThrows(
        () => decompressor.decompress(new Uint8Array(100), length, page),
        RangeError,
        `memory of 100 bytes: ${length}`,
      );
    }
  });
}

for (const library of librariesOf("zlib")) {
  Deno.test(`${library.library} reads what other deflaters write`, () => {
    using decompressor = library.decompressor();
    const copy = new Uint8Array(4096);
    for (const kind of KINDS) {
      for (const windowBits of [9, 15]) {
        for (const level of [0, 1, 9]) {
          const page = pageOf(kind);
          const stream = deflateSync(page, { level, windowBits });
          const from = new Uint8Array(PACKED_BYTES);
          from.set(stream);
          assertEquals(decompressor.decompress(from, stream.length, copy), Unpacked.PAGE);
          assertEquals(copy, page);
        }
      }
    }
  });

  Deno.test(`${library.library} reports a level that it does not have`, () => {
    const error = assertThrows(() => library.compressor(100), CompressionError, library.library);
    assertEquals(error.code, "COMPRESSION_FAILED");
  });
}

for (const method of ["zlib", "zstd"] as const) {
  Deno.test(`openCompressor and openDecompressor of ${method} move a page`, () => {
    using compressor = openCompressor(method, 1);
    using decompressor = openDecompressor(method);
    const page = pageOf("structures");
    const to = new Uint8Array(PACKED_BYTES);
    const length = compressor.compress(page, to);
    assert(length < 2048);
    const copy = new Uint8Array(4096);
    assertEquals(decompressor.decompress(to, length, copy), Unpacked.PAGE);
    assertEquals(copy, page);
  });
}
