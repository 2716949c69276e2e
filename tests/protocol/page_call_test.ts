import { assertEquals, assertThrows } from "@std/assert";
import {
  decodePageCall,
  decodePageCallAnswer,
  encodePageCall,
  encodePageCallAnswer,
  MAX_CALL_ANSWER_BYTES,
  MAX_CALL_BYTES,
  type PageCall,
  type PageCallAnswer,
  pageCallAnswerLength,
  pageCallLength,
} from "../../migration/protocol/page_call.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";

const identity = crypto.getRandomValues(new Uint8Array(32));
const ticket = crypto.getRandomValues(new Uint8Array(16));

/** Receives as a connection does that brings a byte at a time; returns how many it took. */
function taken(
  bytes: Uint8Array,
  room: number,
  lengthOf: (bytes: Uint8Array, length: number) => number,
): number {
  const input = new Uint8Array(room);
  let filled = 0;
  while (filled < lengthOf(input, filled)) {
    input[filled] = bytes[filled]!;
    filled++;
  }
  return filled;
}

const CALLS: readonly PageCall[] = [
  { kind: "begin", name: "vm" },
  { kind: "begin", name: "ä".repeat(127) + "x" },
  { kind: "go-on", name: "vm", identity },
  { kind: "go-on", name: "n".repeat(255), identity },
  { kind: "preempt", ticket },
];

for (const call of CALLS) {
  Deno.test(`a call to ${call.kind} is decoded as it was encoded, and ends where it does`, () => {
    const bytes = encodePageCall(call);
    assertEquals(decodePageCall(bytes), call);
    assertEquals(
      taken(new Uint8Array([...bytes, 1, 2, 3]), MAX_CALL_BYTES, pageCallLength),
      bytes.length,
    );
  });
}

const ANSWERS: readonly PageCallAnswer[] = [
  { kind: "welcome", ticket, identity },
  { kind: "refused", reason: "" },
  { kind: "refused", reason: "No image of that name: vm" },
];

for (const answer of ANSWERS) {
  Deno.test(`an answer ${JSON.stringify(answer).slice(0, 40)} is decoded as it was encoded`, () => {
    const bytes = encodePageCallAnswer(answer);
    assertEquals(decodePageCallAnswer(bytes), answer);
    const behind = new Uint8Array([...bytes, 1, 2, 3]);
    assertEquals(taken(behind, MAX_CALL_ANSWER_BYTES, pageCallAnswerLength), bytes.length);
  });
}

Deno.test("encodePageCallAnswer cuts a reason that is too long, between characters", () => {
  const bytes = encodePageCallAnswer({ kind: "refused", reason: "ä".repeat(2000) });
  assertEquals(decodePageCallAnswer(bytes), { kind: "refused", reason: "ä".repeat(512) });
});

Deno.test("decodePageCallAnswer shows no control characters", () => {
  const bytes = encodePageCallAnswer({ kind: "refused", reason: "a\x1b[2Jb\n" });
  assertEquals(decodePageCallAnswer(bytes), { kind: "refused", reason: "a?[2Jb?" });
});

Deno.test("pageCallLength refuses what is no call at its first wrong byte", () => {
  for (const text of ["QEVM", "GET / HTTP/1.1", "PCPS\x02", "PCPS\x01\x00", "PCPS\x01\x04"]) {
    const bytes = new Uint8Array(MAX_CALL_BYTES);
    bytes.set(new TextEncoder().encode(text));
    assertThrows(() => pageCallLength(bytes, text.length), ProtocolError, "call for pages");
  }
});

Deno.test("decodePageCall refuses a name that is empty, or no UTF-8", () => {
  const bytes = encodePageCall({ kind: "begin", name: "ab" });
  const empty = bytes.slice();
  empty[6] = 0;
  assertThrows(() => decodePageCall(empty), ProtocolError, "empty");
  bytes[7] = 0xff;
  assertThrows(() => decodePageCall(bytes), ProtocolError, "UTF-8");
});
