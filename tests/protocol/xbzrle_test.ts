import { assertEquals, assertThrows } from "@std/assert";
import { decodeXbzrle, ProtocolError } from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";
import { Random } from "../support/random.ts";

/** A page's difference as QEMU encodes it: runs of kept bytes and runs of new ones in turn. */
function encodeXbzrle(before: Uint8Array, after: Uint8Array): Uint8Array {
  const bytes: number[] = [];
  const run = (length: number) => {
    if (length < 0x80) bytes.push(length);
    else bytes.push((length & 0x7f) | 0x80, length >>> 7);
  };
  for (let at = 0; at < after.length;) {
    const start = at;
    while (at < after.length && before[at] === after[at]) at++;
    if (at === after.length) break;
    run(at - start);
    const changed = at;
    while (at < after.length && before[at] !== after[at]) at++;
    run(at - changed);
    bytes.push(...after.subarray(changed, at));
  }
  return new Uint8Array(bytes);
}

function decoded(before: Uint8Array, encoding: Uint8Array): Uint8Array {
  const page = before.slice();
  decodeXbzrle(page, encoding, 0, encoding.length);
  return page;
}

Deno.test("decodeXbzrle undoes the encoding of any two pages", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const before = random.bytes(4096);
    const after = before.slice();
    for (let changes = random.below(30); changes > 0; changes--) {
      const at = random.below(4096);
      after.set(random.bytes(Math.min(4096 - at, random.between(1, 500))), at);
    }
    assertEquals(decoded(before, encodeXbzrle(before, after)), after, `seed ${seed}`);
  }
});

Deno.test("decodeXbzrle keeps what follows the last run", () => {
  const before = new Uint8Array(4096).fill(7);
  const after = before.slice();
  after[2] = 1;
  assertEquals(encodeXbzrle(before, after), hexBytes("02 01 01"));
  assertEquals(decoded(before, hexBytes("02 01 01")), after);
});

Deno.test("decodeXbzrle reads run lengths of two bytes", () => {
  const before = new Uint8Array(4096);
  const after = before.slice();
  after[4095] = 9;
  assertEquals(decoded(before, hexBytes("ff1f 01 09")), after);
});

Deno.test("decodeXbzrle changes nothing for an empty encoding", () => {
  const before = new Uint8Array(4096).fill(3);
  assertEquals(decoded(before, new Uint8Array(0)), before);
});

Deno.test("decodeXbzrle refuses malformed runs and leaves the page as it was", () => {
  const cases = {
    "a run that leaves the page": "00 01 aa ff1f 01 bb",
    "new bytes that leave the encoding": "00 05 aabb",
    "a length cut short": "00 01 aa 80",
    "a length of three bytes": "80 80 01",
    "no new bytes behind a run": "05",
    "an empty run of new bytes": "05 00",
    "an empty run to keep in the middle": "00 01 aa 00 01 bb",
  };
  for (const [what, text] of Object.entries(cases)) {
    const page = new Uint8Array(4096).fill(3);
    const encoding = hexBytes(text);
    const error = assertThrows(
      () => decodeXbzrle(page, encoding, 0, encoding.length),
      ProtocolError,
      undefined,
      what,
    );
    assertEquals(error.code, "bad-page");
    assertEquals(page, new Uint8Array(4096).fill(3), what);
  }
});

Deno.test("decodeXbzrle survives random encodings", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const random = new Random(seed);
    const encoding = random.bytes(random.below(40));
    try {
      decodeXbzrle(new Uint8Array(4096), encoding, 0, encoding.length);
    } catch (error) {
      assertEquals(error instanceof ProtocolError, true, `${error}`);
    }
  }
});
