/** Streams of a small machine, and one that writes down all that an incoming stream tells. */

import { assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import type { IncomingPages } from "../../client/incoming/incoming_memory.ts";
import { IncomingStream } from "../../client/incoming/incoming_stream.ts";
import type { ArrivedMachine, StreamEvents } from "../../client/incoming/stream_events.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { AbsentPagesCommand, Command } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import {
  describeGuestSection,
  encodeGuestSection,
} from "../../migration/protocol/guest_section.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { encodeGreeting, encodeOpening, PING } from "../../server/sending/control_stream.ts";
import { Random } from "../support/random.ts";

export const PAGE = 4096;
export const MACHINE: StreamMachine = {
  configuration: { machine: "mine" },
  targetPageSize: PAGE,
  blocks: [{ name: "low", usedLength: 2 * PAGE }, { name: "high", usedLength: 8 * PAGE }],
  ramSection: { id: 1, instance: 0, version: 4 },
  earlySections: new Uint8Array(0),
};
export const STATE = new Random(31).bytes(500);
export const DEVICES = new Uint8Array(encodeGuestSection(2, STATE));
export const DESCRIPTION = describeGuestSection(STATE.length, PAGE);

/** Hears a stream: everything that happens, in order, as text. */
export class Heard implements IncomingPages, StreamEvents {
  readonly log: string[] = [];
  whole = true;
  machine: ArrivedMachine | undefined;
  /** Compressed pages that came since all of them were in place. */
  #unsettled = 0;
  readonly stream = new IncomingStream(this, this);
  #decoder = new StreamDecoder(this.stream);
  #rest = new Uint8Array(0);

  feed(bytes: Uint8Array): this {
    const input = new Uint8Array([...this.#rest, ...bytes]);
    const decoded = this.#decoder.decode(input, 0, input.length);
    this.#rest = input.slice(decoded);
    return this;
  }

  /** Goes on with another connection. */
  recover(): this {
    this.#decoder = new StreamDecoder(this.stream, this.stream.recover());
    this.#rest = new Uint8Array(0);
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
  readonly held = false;
  settle(then: () => void): void {
    this.#unsettled = 0;
    then();
  }
  resume(): boolean {
    return true;
  }
  discard({ block, ranges }: DiscardCommand): void {
    this.log.push(`discard ${block} ${ranges.map(({ start, length }) => `${start}+${length}`)}`);
  }
  absent({ block, runs }: AbsentPagesCommand): void {
    this.log.push(`absent ${block} ${runs}`);
  }
  listen(): void {
    this.log.push("listen");
  }
  restart(): void {
    this.log.push("restart");
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
  bitmapWanted(block: string): void {
    this.log.push(`bitmap of ${block}`);
  }
  resumed(): void {
    this.log.push("resumed");
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

export function encode(write: (stream: StreamEncoder) => void): Uint8Array {
  const stream = new StreamEncoder();
  write(stream);
  return stream.take();
}

export function command(command: Command): Uint8Array {
  return encode((stream) => stream.command(command));
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

export function packaged(contents: Uint8Array): Uint8Array {
  return encode((stream) => {
    stream.packaged(contents.length);
    stream.packagedData(contents, 0, contents.length);
  });
}

/** A section with two pages. */
export function pages(type: "part" | "end" = "part"): Uint8Array {
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
  return new Uint8Array([...greeting, ...encodeOpening(MACHINE, [], { postcopy })]);
}
export const OPENING = opening(true);
export const PLAIN_OPENING = opening(false);
export const HELLO = `ping ${PING.RETURN_PATH}`;
export const OPENED = ["machine mine", "return path", HELLO, "open low,high 4096", "opened"];
export const PAGES = ["select low", `zero ${PAGE}`, "select high", `page ${3 * PAGE}`];
export const DISCARD: Command = {
  kind: "discard",
  block: "low",
  ranges: [{ start: 0, length: PAGE }],
};
export const END = encode((stream) => stream.endOfStream());

/** Feeds all but the last part, then sees the last refused. */
export function assertRefused(
  message: RegExp,
  code: string,
  ...parts: readonly Uint8Array[]
): void {
  const heard = new Heard();
  for (const part of parts.slice(0, -1)) heard.feed(part);
  const error = assertThrows(() => heard.feed(parts.at(-1)!));
  assertInstanceOf(error, MigrationError);
  assertEquals([error.code, heard.log.includes("ended")], [code, false]);
  assertMatch(error.message, message);
}
