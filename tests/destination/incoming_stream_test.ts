import { assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import type { IncomingPages } from "../../client/incoming/incoming_memory.ts";
import {
  type ArrivedMachine,
  IncomingStream,
  type StreamEvents,
} from "../../client/incoming/incoming_stream.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import {
  describeGuestSection,
  encodeGuestSection,
} from "../../migration/protocol/guest_section.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import {
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
  PING,
} from "../../server/sending/control_stream.ts";
import { Random } from "../support/random.ts";

const PAGE = 4096;
const MACHINE: StreamMachine = {
  configuration: { machine: "mine" },
  targetPageSize: PAGE,
  blocks: [{ name: "low", usedLength: 2 * PAGE }, { name: "high", usedLength: 8 * PAGE }],
  ramSection: { id: 1, instance: 0, version: 4 },
  earlySections: new Uint8Array(0),
};
const STATE = new Random(31).bytes(500);
const DEVICES = new Uint8Array(encodeGuestSection(2, STATE));
const DESCRIPTION = describeGuestSection(STATE.length, PAGE);

/** Hears a stream: everything that happens, in order, as text. */
class Heard implements IncomingPages, StreamEvents {
  readonly log: string[] = [];
  machine: ArrivedMachine | undefined;
  /** Compressed pages that came since all of them were in place. */
  #unsettled = 0;
  readonly stream = new IncomingStream(this, this);
  readonly #decoder = new StreamDecoder(this.stream);
  #rest = new Uint8Array(0);

  feed(bytes: Uint8Array): this {
    const input = new Uint8Array([...this.#rest, ...bytes]);
    const decoded = this.#decoder.decode(input, 0, input.length);
    this.#rest = input.slice(decoded);
    return this;
  }

  open({ blocks, pageSizeSummary }: StreamMachine): void {
    this.log.push(`open ${blocks.map(({ name }) => name)} ${pageSizeSummary ?? "-"}`);
  }
  select(name: string): void {
    this.log.push(`select ${name}`);
  }
  page(offset: number): void {
    this.log.push(`page ${offset}`);
  }
  zeroPage(offset: number): void {
    this.log.push(`zero ${offset}`);
  }
  xbzrlePage(): void {}
  compressedBy(method: string): void {
    this.log.push(`compressed by ${method}`);
  }
  compressedPage(): void {
    this.#unsettled++;
  }
  flush(): void {}
  settled(): boolean {
    return this.#unsettled === 0;
  }
  settle(): void {
    this.#unsettled = 0;
  }
  discard({ block, ranges }: DiscardCommand): void {
    this.log.push(`discard ${block} ${ranges.map(({ start, length }) => `${start}+${length}`)}`);
  }
  listen(): void {
    this.log.push("listen");
  }
  configuration({ machine }: { readonly machine: string }): void {
    this.log.push(`machine ${machine}`);
  }
  returnPathOpened(): void {
    this.log.push("return path");
  }
  ping(value: number): void {
    this.log.push(`ping ${value}`);
  }
  opened(): void {
    this.log.push("opened");
  }
  listening(): void {
    this.log.push("listening");
  }
  switchover(): void {
    this.log.push("switchover");
  }
  arrived(machine: ArrivedMachine, precopy: boolean): void {
    this.machine = machine;
    this.log.push(`arrived ${precopy ? "complete" : "to be completed"}${this.#still()}`);
  }
  ended(): void {
    this.log.push(`ended${this.#still()}`);
  }
  #still(): string {
    return this.#unsettled === 0 ? "" : ` but for ${this.#unsettled} pages`;
  }
}

function encode(write: (stream: StreamEncoder) => void): Uint8Array {
  const stream = new StreamEncoder();
  write(stream);
  return stream.take();
}

function command(command: Command): Uint8Array {
  return encode((stream) => stream.command(command));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

function packaged(contents: Uint8Array): Uint8Array {
  return encode((stream) => {
    stream.packaged(contents.length);
    stream.packagedData(contents, 0, contents.length);
  });
}

/** A section with two pages. */
function pages(type: "part" | "end" = "part"): Uint8Array {
  return encode((stream) => {
    if (type === "part") stream.sectionPart(1);
    else stream.sectionEnd(1);
    stream.block("low");
    stream.zeroPage(PAGE, 0);
    stream.block("high");
    stream.page(3 * PAGE, new Uint8Array(PAGE), 0);
    stream.endOfSection();
    stream.sectionFooter(1);
  });
}

function opening(postcopy: boolean): Uint8Array {
  const greeting = encodeGreeting(MACHINE.configuration);
  return new Uint8Array([...greeting, ...encodeOpening(MACHINE, [], postcopy)]);
}
const OPENING = opening(true);
const PLAIN_OPENING = opening(false);
const HELLO = `ping ${PING.RETURN_PATH}`;
const OPENED = ["machine mine", "return path", HELLO, "open low,high 4096", "opened"];
const PAGES = ["select low", `zero ${PAGE}`, "select high", `page ${3 * PAGE}`];
const DISCARD: Command = {
  kind: "discard",
  block: "low",
  ranges: [{ start: 0, length: PAGE }],
};
const END = encode((stream) => stream.endOfStream());

/** Feeds all but the last part, then sees the last refused. */
function assertRefused(message: RegExp, code: string, ...parts: readonly Uint8Array[]): void {
  const heard = new Heard();
  for (const part of parts.slice(0, -1)) heard.feed(part);
  const error = assertThrows(() => heard.feed(parts.at(-1)!));
  assertInstanceOf(error, MigrationError);
  assertEquals([error.code, heard.log.includes("ended")], [code, false]);
  assertMatch(error.message, message);
}

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
  assertEquals(heard.stream.closed(), false);
  heard.feed(DEVICES).feed(END);
  assertEquals(heard.stream.ended, false);
  assertEquals(heard.stream.closed(), true);
  assertEquals(heard.machine, { deviceState: DEVICES, commands: [] });
  assertEquals(heard.log.slice(-3), ["switchover", "arrived complete", "ended"]);
});

Deno.test("IncomingStream does not take device state that was cut short for an end", () => {
  const end = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
  for (let length = 0; length < end.length; length++) {
    if (length === DEVICES.length + 1) continue; // the end of a stream without description
    const heard = new Heard().feed(PLAIN_OPENING).feed(end.subarray(0, length));
    assertEquals(heard.stream.closed(), false, `${length} bytes`);
    assertEquals(heard.machine, undefined);
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
  assertEquals(bare.stream.closed(), true);
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

Deno.test("IncomingStream refuses postcopy without postcopy-ram, and other target pages", () => {
  const header = encode((stream) => {
    stream.header();
    stream.configuration({ machine: "mine" });
  });
  const without = command({ kind: "advise" });
  assertRefused(/^Source has postcopy-ram off/, "UNSUPPORTED", header, without);
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

const ZSTD: Command = { kind: "extensions", names: ["compress-postcopy", "zstd"] };

Deno.test("IncomingStream learns from the extensions how pages are compressed", () => {
  const heard = new Heard().feed(OPENING).feed(command(ZSTD)).feed(pages());
  assertEquals(heard.log.slice(0, OPENED.length + 1), [...OPENED, "compressed by zstd"]);
  const without = new Heard().feed(OPENING).feed(command({ kind: "extensions", names: [] }));
  assertEquals(without.log, OPENED);
});

Deno.test("IncomingStream refuses an extension that it does not know, by its name", () => {
  const unknown = command({ kind: "extensions", names: ["zstd", "lz4"] });
  const message =
    /^Source uses an extension that is not known here, take the same version for both: lz4$/;
  assertRefused(message, "UNSUPPORTED", OPENING, unknown);
});

Deno.test("IncomingStream refuses extensions after the first page", () => {
  const message = /^Extensions after the first page$/;
  assertRefused(message, "BAD_PEER", OPENING, pages(), command(ZSTD));
});
