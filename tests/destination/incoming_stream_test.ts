import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import {
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
} from "../../server/sending/control_stream.ts";
import { Random } from "../support/random.ts";
import {
  assertRefused,
  command,
  DESCRIPTION,
  DEVICES,
  DISCARD,
  encode,
  END,
  Heard,
  HELLO,
  joined,
  MACHINE,
  OPENED,
  OPENING,
  packaged,
  PAGE,
  PAGES,
  pages,
  PLAIN_OPENING,
} from "./heard_stream.ts";

Deno.test("IncomingStream takes a postcopy stream, however it is cut", () => {
  const bytes = joined(
    OPENING,
    pages(),
    command(DISCARD),
    command({ kind: "ping", value: 2 }),
    encodeSwitchover(DEVICES),
    pages("end"),
    END,
  );
  const expected = [
    ...OPENED,
    ...PAGES,
    `discard low 0+${PAGE}`,
    "ping 2",
    "switchover",
    "listen",
    "listening",
    "arrived to be completed",
    "ping 4",
    ...PAGES,
    "ended",
  ];
  const random = new Random(32);
  for (const most of [bytes.length, 1, 7, 1000]) {
    const heard = new Heard();
    for (const piece of random.split(bytes, most)) heard.feed(piece);
    assertEquals(heard.log.filter((line, at) => line !== heard.log[at - 1]), expected);
    assertEquals(heard.machine!.deviceState, DEVICES);
    assertEquals(heard.machine!.commands, [{ kind: "ping", value: 3 }, { kind: "run" }]);
    assertEquals([heard.stream.listening, heard.stream.ended], [true, true]);
  }
});

Deno.test("IncomingStream takes a stream that never switches, however it is cut", () => {
  const bytes = joined(
    PLAIN_OPENING,
    pages(),
    pages("end"),
    joinDeviceState({ devices: DEVICES, description: DESCRIPTION }),
  );
  const random = new Random(33);
  for (const most of [bytes.length, 1, 7, 1000]) {
    const heard = new Heard();
    const pieces = random.split(bytes, most);
    for (const piece of pieces.slice(0, -1)) heard.feed(piece);
    assertEquals(heard.stream.ended, false);
    heard.feed(pieces.at(-1)!);
    assertEquals(heard.log.slice(0, 5), [
      "machine mine",
      "return path",
      HELLO,
      "open low,high -",
      "opened",
    ]);
    assertEquals(heard.log.slice(-3), ["switchover", "arrived complete", "ended"]);
    assertEquals(heard.machine, { deviceState: DEVICES, commands: [], description: DESCRIPTION });
    assertEquals([heard.stream.listening, heard.stream.ended], [false, true]);
  }
});

Deno.test("IncomingStream takes the end of the connection for the end of a stream without description", () => {
  const heard = new Heard().feed(PLAIN_OPENING).feed(pages("end"));
  assertEquals(heard.stream.closed(true), false);
  heard.feed(DEVICES).feed(END);
  assertEquals(heard.stream.ended, false);
  assertEquals(heard.stream.closed(true), true);
  assertEquals(heard.machine, { deviceState: DEVICES, commands: [] });
  assertEquals(heard.log.slice(-3), ["switchover", "arrived complete", "ended"]);
});

Deno.test("IncomingStream takes a cut behind the last byte alone for the end of a stream without description", () => {
  const [bare, padded] = [[END], [END, new Uint8Array(100)]].map((behind) =>
    new Heard().feed(PLAIN_OPENING).feed(joined(pages("end"), DEVICES, ...behind))
  );
  assertEquals(bare!.stream.closed(false), true);
  assertEquals(bare!.machine, { deviceState: DEVICES, commands: [] });
  // What is sent from a padded file has no last byte that tells.
  assertEquals(padded!.stream.closed(false), false);
  assertEquals(padded!.stream.closed(true), true);
});

Deno.test("IncomingStream does not take device state that was cut short for an end", () => {
  const end = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
  for (const said of [true, false]) {
    for (let length = 0; length < end.length; length++) {
      if (length === DEVICES.length + 1) continue; // the end of a stream without description
      const heard = new Heard().feed(PLAIN_OPENING).feed(end.subarray(0, length));
      assertEquals(heard.stream.closed(said), false, `${length} bytes`);
      assertEquals(heard.machine, undefined);
    }
  }
});

Deno.test("IncomingStream refuses another iterable section by name, however the stream is cut", () => {
  const other = encode((stream) => {
    stream.sectionStart(9, "dirty-bitmap", 0, 1);
    stream.sectionFooter(9);
  });
  const end = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
  const bytes = joined(PLAIN_OPENING, other, pages(), pages("end"), end);
  const random = new Random(34);
  for (const most of [bytes.length, 1, 7, 1000]) {
    const heard = new Heard();
    const error = assertThrows(() => {
      for (const piece of random.split(bytes, most)) heard.feed(piece);
    }, MigrationError);
    assertMatch(error.message, /: dirty-bitmap: turn the capability dirty-bitmaps off/);
    assertEquals([heard.log.includes("switchover"), heard.machine], [false, undefined]);
  }
});

Deno.test("IncomingStream.rest ends a stream without description only where an answer is awaited", () => {
  const quiet = encode((stream) => {
    stream.header();
    stream.configuration({ machine: "mine" });
  });
  const memory = encodeOpening(MACHINE, [], { postcopy: false });
  const start = encodeGreeting(MACHINE.configuration);
  for (const [opening, answered] of [[start, true], [quiet, false]] as const) {
    const heard = new Heard().feed(opening).feed(memory.subarray(memory.indexOf(1, 0)));
    heard.feed(pages("end"));
    assertEquals(heard.stream.rest(0), Infinity);
    heard.feed(DEVICES);
    assertEquals(heard.stream.rest(1e18), Infinity);
    heard.feed(END);
    assertEquals([heard.stream.rest(0) < Infinity, heard.stream.ended], [answered, false]);
    assertEquals(heard.stream.rest(1e18), Infinity);
    assertEquals(heard.stream.ended, answered);
    if (answered) assertEquals(heard.machine, { deviceState: DEVICES, commands: [] });
  }
});

/** A section whose page is compressed, and may be on its way through a thread when the stream goes on. */
const COMPRESSED = encode((stream) => {
  stream.sectionEnd(1);
  stream.block("high");
  stream.compressedPage(PAGE, new Uint8Array(20), 0, 20);
  stream.endOfSection();
  stream.sectionFooter(1);
});

Deno.test("IncomingStream has compressed pages in place before the machine arrives with them", () => {
  const whole = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
  const described = new Heard().feed(PLAIN_OPENING).feed(joined(COMPRESSED, whole));
  assertEquals(described.log.slice(-2), ["arrived complete", "ended"]);
  // The end of the connection is the end of the stream.
  const bare = new Heard().feed(PLAIN_OPENING).feed(joined(COMPRESSED, DEVICES, END));
  assertEquals(bare.stream.closed(true), true);
  assertEquals(bare.log.slice(-2), ["arrived complete", "ended"]);
});

Deno.test("IncomingStream has compressed pages in place before it ends after a switch to postcopy", () => {
  const heard = new Heard().feed(OPENING).feed(encodeSwitchover(DEVICES));
  heard.feed(joined(COMPRESSED, END));
  assertEquals(heard.log.slice(-1), ["ended"]);
});

Deno.test("IncomingStream leaves PINGs of the package to whoever loads it", () => {
  const heard = new Heard().feed(OPENING).feed(encodeSwitchover(DEVICES));
  assertEquals(heard.log.filter((line) => line.startsWith("ping")), [HELLO, "ping 4"]);
});

Deno.test("IncomingStream refuses pages before the list of blocks", () => {
  const header = encode((stream) => {
    stream.header();
    stream.configuration({ machine: "mine" });
    stream.sectionStart(1, "ram", 0, 4);
    stream.block("low");
    stream.zeroPage(0, 0);
  });
  assertRefused(/^Page before the list of RAM blocks$/, "BAD_PEER", header);
});

Deno.test("IncomingStream refuses a source that does not say its machine type", () => {
  const stream = encode((stream) => {
    stream.header();
    stream.sectionStart(1, "ram", 0, 4);
    stream.blockList(PAGE);
    stream.blockEntry({ name: "low", usedLength: PAGE });
    stream.endOfSection();
    stream.sectionFooter(1);
  });
  assertRefused(/^Source does not say its machine type/, "UNSUPPORTED", stream);
});

Deno.test("IncomingStream refuses a second list of blocks", () => {
  const again = encode((stream) => {
    stream.sectionPart(1);
    stream.blockList(PAGE);
  });
  const heard = new Heard().feed(OPENING);
  assertThrows(() => heard.feed(again), ProtocolError);
  assertEquals(heard.log.filter((line) => line.startsWith("open ")).length, 1);
});

Deno.test("IncomingStream refuses discards before the blocks and after LISTEN", () => {
  const header = encode((stream) => {
    stream.header();
    stream.configuration({ machine: "mine" });
  });
  const message = /^Discard before the RAM blocks or after LISTEN$/;
  assertRefused(message, "BAD_PEER", header, command(DISCARD));
  assertRefused(message, "BAD_PEER", OPENING, encodeSwitchover(DEVICES), command(DISCARD));
});

Deno.test("IncomingStream refuses LISTEN without ADVISE, and twice", () => {
  const message = /^LISTEN without ADVISE and RAM blocks, or twice$/;
  const listen = command({ kind: "listen" });
  assertRefused(message, "BAD_PEER", PLAIN_OPENING, listen);
  assertRefused(message, "BAD_PEER", PLAIN_OPENING, encodeSwitchover(DEVICES));
  assertRefused(message, "BAD_PEER", OPENING, listen, listen);
  const switchover = encodeSwitchover(DEVICES);
  assertRefused(message, "BAD_PEER", OPENING, switchover, switchover);
});

Deno.test("IncomingStream refuses a package that does not listen", () => {
  const run: Command = { kind: "run" };
  const contents = joinPackage({ before: [], devices: DEVICES, after: [run] });
  const message = /^Device state arrived without LISTEN$/;
  assertRefused(message, "BAD_PEER", OPENING, packaged(contents));
  assertRefused(message, "BAD_PEER", OPENING, packaged(new Uint8Array(0)));
});

Deno.test("IncomingStream refuses device state before the memory, and after LISTEN", () => {
  const header = encode((stream) => {
    stream.header();
    stream.configuration({ machine: "mine" });
  });
  assertRefused(/^Source sent device state before its memory/, "UNSUPPORTED", header, DEVICES);
  const outside = /^Source sent device state outside the package$/;
  assertRefused(outside, "BAD_PEER", OPENING, encodeSwitchover(DEVICES), DEVICES);
});

Deno.test("IncomingStream refuses an end without device state", () => {
  const message = /^Source ended without any device state$/;
  assertRefused(message, "UNSUPPORTED", OPENING, pages("end"), END);
  const listen = command({ kind: "listen" });
  const unsent = /^Source ended without sending the device state$/;
  assertRefused(unsent, "BAD_PEER", OPENING, listen, END);
});

Deno.test("IncomingStream refuses postcopy of bitmaps alone, and other target pages", () => {
  const header = encode((stream) => {
    stream.header();
    stream.configuration({ machine: "mine" });
  });
  const without = command({ kind: "advise" });
  assertRefused(
    /^Source has the capability dirty-bitmaps on, .*: turn it off there$/,
    "UNSUPPORTED",
    header,
    without,
  );
  const sizes = { pageSizeSummary: 8192, targetPageSize: 8192 };
  const other = command({ kind: "advise", ram: sizes });
  assertRefused(/^Target pages other than 4096 bytes .*: 8192$/, "UNSUPPORTED", header, other);
});

Deno.test("IncomingStream refuses commands that have no place outside a package", () => {
  for (const kind of ["run", "resume"] as const) {
    const message = new RegExp(`^Source sent a command that is not supported here: ${kind}$`);
    assertRefused(message, "UNSUPPORTED", OPENING, command({ kind }));
  }
});
