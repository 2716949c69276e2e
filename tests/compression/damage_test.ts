import { assert, assertEquals, fail } from "@std/assert";
import { type PageDecompressor, Unpacked } from "../../ffi/compression/codec.ts";
import type { PageKind } from "../../bench/codecs/page_content.ts";
import { PACKED_BYTES } from "../../migration/compression.ts";
import { Random } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { KINDS, LIBRARIES, librariesOf, packed, pageOf } from "./libraries.ts";

const PAGE = 4096;

/** Bytes as they came, behind which lies what an earlier page left. */
function slotOf(
  bytes: Uint8Array,
  behind: Uint8Array = new Uint8Array(0),
): Uint8Array<ArrayBuffer> {
  const slot = new Uint8Array(PACKED_BYTES);
  slot.set(bytes);
  slot.set(behind.subarray(0, PACKED_BYTES - bytes.length), bytes.length);
  return slot;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return a.length === b.length;
}

/** Counts of what came of damaged pages. */
type Outcomes = Record<Unpacked, number>;

/**
 * Decompresses a compressed page with each of its bytes changed in every given way.
 *
 * @returns how often each outcome was
 */
function outcomesOfChanges(
  decompressor: PageDecompressor,
  intact: Uint8Array<ArrayBuffer>,
  page: Uint8Array,
  changes: readonly number[],
): Outcomes {
  const outcomes: Outcomes = { 0: 0, 1: 0, 2: 0 };
  const slot = slotOf(intact);
  const copy = new Uint8Array(PAGE);
  for (let at = 0; at < intact.length; at++) {
    for (const change of changes) {
      slot[at] = intact[at]! ^ change;
      const outcome = decompressor.decompress(slot, intact.length, copy);
      if (outcome === Unpacked.PAGE && !same(copy, page)) fail(`Byte ${at} ^ ${change}`);
      outcomes[outcome]++;
    }
    slot[at] = intact[at]!;
  }
  assertEquals(decompressor.decompress(slot, intact.length, copy), Unpacked.PAGE);
  assertEquals(copy, page);
  return outcomes;
}

/** Every single bit, and all bits at once. */
const FLIPS = [1, 2, 4, 8, 16, 32, 64, 128, 255];
const ANY_CHANGE = Array.from({ length: 255 }, (_, index) => index + 1);

for (const { method, library, skip } of LIBRARIES) {
  const name = library.library;

  for (const kind of ["text", "structures", "random"] satisfies PageKind[]) {
    testUnless(skip, `${name} makes no other page of a ${kind} page with a byte flipped`, () => {
      using decompressor = library.decompressor();
      const page = pageOf(kind);
      const { bytes, length } = packed(librariesOf(method)[0]!, 1, page);
      const outcomes = outcomesOfChanges(decompressor, bytes.slice(0, length), page, FLIPS);
      const changed = length * FLIPS.length;
      // Some bits say nothing (zlib's level, zstd's unused bit), and some repetitions are found elsewhere.
      assert(outcomes[Unpacked.PAGE] < changed / 100, `${outcomes[Unpacked.PAGE]} of ${changed}`);
      assert(outcomes[Unpacked.DAMAGED] > changed / 4);
    });
  }

  testUnless(skip, `${name} makes no other page of a zero page with any other byte`, () => {
    using decompressor = library.decompressor();
    const page = pageOf("zero");
    for (const level of [1, 9]) {
      const { bytes, length } = packed(library, level, page);
      outcomesOfChanges(decompressor, bytes.slice(0, length), page, ANY_CHANGE);
    }
  });

  testUnless(skip, `${name} finds every truncation, also before the bytes cut off`, () => {
    using decompressor = library.decompressor();
    const slot = new Uint8Array(PACKED_BYTES);
    const copy = new Uint8Array(PAGE);
    for (const kind of KINDS) {
      const { bytes, length } = packed(library, 1, pageOf(kind));
      for (let cut = 0; cut < length; cut++) {
        // The memory may still hold the intact form, as when a page is sent a second time.
        slot.set(bytes);
        if (decompressor.decompress(slot, cut, copy) === Unpacked.PAGE) {
          fail(`${kind} cut at ${cut}`);
        }
        slot.set(bytes);
        slot.fill(0, cut);
        if (decompressor.decompress(slot, cut, copy) === Unpacked.PAGE) {
          fail(`${kind} cut at ${cut}`);
        }
      }
    }
  });

  testUnless(skip, `${name} takes nothing behind a page`, () => {
    using decompressor = library.decompressor();
    const random = new Random(1);
    const copy = new Uint8Array(PAGE);
    for (const kind of KINDS) {
      const { bytes, length } = packed(library, 1, pageOf(kind));
      const intact = bytes.subarray(0, length);
      const skippable = new Uint8Array([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
      const behind = [new Uint8Array(1), random.bytes(7), random.bytes(100), skippable, intact];
      for (const rubbish of behind.map((each) => joined(intact, each))) {
        if (rubbish.length > PACKED_BYTES) continue;
        const outcome = decompressor.decompress(slotOf(rubbish), rubbish.length, copy);
        assertEquals(outcome, Unpacked.DAMAGED);
      }
    }
  });

  testUnless(skip, `${name} refuses a page in two halves`, () => {
    using decompressor = library.decompressor();
    const page = pageOf("text");
    const halves = [page.slice(0, PAGE / 2), page.slice(PAGE / 2)].map((half) => {
      const { bytes, length } = packed(library, 1, half);
      return bytes.subarray(0, length);
    });
    const both = joined(...halves);
    const copy = new Uint8Array(PAGE);
    assertEquals(decompressor.decompress(slotOf(both), both.length, copy), Unpacked.DAMAGED);
    assertEquals(
      decompressor.decompress(slotOf(halves[0]!), halves[0]!.length, copy),
      Unpacked.OTHER_SIZE,
    );
  });

  testUnless(skip, `${name} tells content of another size and writes no more than a page`, () => {
    using decompressor = library.decompressor();
    const text = joined(pageOf("text", 1), pageOf("text", 2));
    for (const size of [1, 2048, 4095, 4097, 5000, 8192]) {
      const { bytes, length } = packed(library, 1, text.slice(0, size));
      const memory = new Uint8Array(PAGE + 64).fill(0xa7);
      const outcome = decompressor.decompress(bytes, length, memory.subarray(0, PAGE));
      assertEquals(outcome, Unpacked.OTHER_SIZE, `${size}`);
      assert(memory.subarray(PAGE).every((byte) => byte === 0xa7));
    }
  });

  testUnless(skip, `${name} makes no page of random bytes`, () => {
    using decompressor = library.decompressor();
    const random = new Random(2);
    const copy = new Uint8Array(PAGE);
    const { bytes: intact, length: intactLength } = packed(library, 1, pageOf("text"));
    for (let round = 0; round < 3000; round++) {
      const length = random.below(600);
      const bytes = random.bytes(length);
      // Half of them begin as a page does, so that more than the header is looked at.
      if (round % 2 === 0) bytes.set(intact.subarray(0, Math.min(length, random.below(40))));
      assertEquals(decompressor.decompress(slotOf(bytes), length, copy), Unpacked.DAMAGED);
    }
    assertEquals(decompressor.decompress(intact, intactLength, copy), Unpacked.PAGE);
  });
}

for (const library of librariesOf("zstd")) {
  Deno.test(`${library.library} refuses a frame without a checksum`, () => {
    using decompressor = library.decompressor();
    const { bytes, length } = packed(library, 1, pageOf("random"));
    bytes[4]! &= ~4; // Content_Checksum_flag of RFC 8878, section 3.1.1.1.1
    const copy = new Uint8Array(PAGE);
    assertEquals(decompressor.decompress(bytes, length - 4, copy), Unpacked.DAMAGED);
  });

  Deno.test(`${library.library} refuses a skippable frame`, () => {
    using decompressor = library.decompressor();
    const bytes = slotOf(new Uint8Array([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]));
    const copy = new Uint8Array(PAGE);
    assertEquals(decompressor.decompress(bytes, 12, copy), Unpacked.DAMAGED);
  });
}
