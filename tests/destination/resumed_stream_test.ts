import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { MigrationError } from "../../migration/migration_error.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { encodeSwitchover } from "../../server/sending/control_stream.ts";
import { Random } from "../support/random.ts";
import {
  assertRefused,
  command,
  DEVICES,
  encode,
  END,
  Heard,
  joined,
  OPENING,
  PAGE,
  PAGES,
  pages,
} from "./heard_stream.ts";

const RESUMING = joined(
  command({ kind: "receive-bitmap", block: "high" }),
  command({ kind: "receive-bitmap", block: "low" }),
  command({ kind: "resume" }),
);
const RESUMED = ["bitmap of high", "bitmap of low", "resumed"];

/** A stream whose connection broke within a page. */
function broken(): Heard {
  const heard = new Heard().feed(OPENING).feed(encodeSwitchover(DEVICES));
  return heard.feed(pages().subarray(0, 50));
}

Deno.test("IncomingStream goes on by another connection, however that is cut, as often as one breaks", () => {
  const bytes = joined(RESUMING, pages(), command({ kind: "ping", value: 9 }), pages("end"), END);
  const expected = ["restart", ...RESUMED, ...PAGES, "ping 9", ...PAGES, "ended"];
  const random = new Random(34);
  for (const most of [bytes.length, 1, 7, 1000]) {
    const heard = broken().recover().feed(RESUMING).feed(pages().subarray(0, 70));
    for (const cut of [3, 20, RESUMING.length]) heard.recover().feed(RESUMING.subarray(0, cut));
    const before = heard.log.length;
    heard.recover();
    for (const piece of random.split(bytes, most)) heard.feed(piece);
    const after = heard.log.slice(before);
    assertEquals(after, expected);
    assertEquals([heard.stream.listening, heard.stream.ended], [true, true]);
  }
});

Deno.test("IncomingStream goes on behind an end whose last pages broke off on the other channel", () => {
  const heard = broken().recover().feed(RESUMING).feed(pages("end")).feed(END);
  assertEquals(heard.stream.ended, true);
  heard.recover();
  assertEquals(heard.stream.ended, false);
  heard.feed(joined(RESUMING, pages("end"), END));
  assertEquals(heard.stream.ended, true);
});

Deno.test("IncomingStream cannot be resumed before LISTEN", () => {
  assertThrows(() => new Heard().recover(), Error, "after LISTEN only");
  assertThrows(() => new Heard().feed(OPENING).recover(), Error, "after LISTEN only");
});

Deno.test("IncomingStream refuses to be asked for a bitmap and to resume when nothing has broken", () => {
  const bitmap = command({ kind: "receive-bitmap", block: "low" });
  const resume = command({ kind: "resume" });
  for (const [name, bytes] of [["receive-bitmap", bitmap], ["resume", resume]] as const) {
    const message = new RegExp(`^Source sent a command that is not supported here: ${name}$`);
    assertRefused(message, "UNSUPPORTED", OPENING, bytes);
    assertRefused(message, "UNSUPPORTED", OPENING, encodeSwitchover(DEVICES), bytes);
    const error = assertThrows(() => broken().recover().feed(RESUMING).feed(bytes), MigrationError);
    assertMatch(error.message, message);
  }
});

Deno.test("IncomingStream refuses a source that asks for the bitmap of another guest's block", () => {
  const heard = broken().recover();
  const other = command({ kind: "receive-bitmap", block: "pc.bios" });
  const error = assertThrows(() => heard.feed(other), MigrationError);
  assertEquals(error.code, "BAD_PEER");
  assertMatch(error.message, /RAM block that is not here, .*: pc.bios$/);
});

Deno.test("IncomingStream refuses pages of a resumed stream that do not name their block", () => {
  const part = encode((stream) => {
    stream.sectionPart(1);
    stream.block("low");
    stream.zeroPage(0, 0);
    stream.zeroPage(PAGE, 0);
  });
  const unnamed = joined(part.subarray(0, 5), part.subarray(5 + 8 + 4 + 1));
  const heard = broken().recover().feed(RESUMING);
  const error = assertThrows(() => heard.feed(unnamed), ProtocolError);
  assertMatch(error.message, /name its block/);
});
