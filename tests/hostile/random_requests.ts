/** What a hostile destination says on the return path, drawn at random: requests, and what is none. */

import { MESSAGE } from "../../migration/protocol/constants.ts";
import type { Random } from "../support/random.ts";

const PAGE = 4096n;
const PAGE_BYTES = 4096;
/** Behind the last page that a request may name by 64 bits. */
const TOP = 1n << 64n;
const encoder = new TextEncoder();

/** Pages that were asked for as one may. */
export interface Wanted {
  readonly block: string;
  readonly start: number;
  readonly length: number;
}

/** A message, and whether it is one that a destination may say. */
export interface Message {
  readonly what: string;
  readonly bytes: Uint8Array;
  /** The pages that are to come for it; absent: the source is to have no more to do with who says it. */
  readonly wanted?: readonly Wanted[];
}

/** Kinds of messages that no destination says, by name. */
const WRONG = {
  "behind the end": ({ last, name, random }) =>
    named(name, last + PAGE * BigInt(random.between(1, 1 << 20)), PAGE),
  "over the end": ({ last, name, random }) =>
    named(name, last, PAGE * BigInt(random.between(2, 1000))),
  "2^32 bytes but a page": ({ name }) => named(name, 0n, (1n << 32n) - PAGE),
  "2^32 pages behind": ({ name }) => named(name, PAGE << 32n, PAGE),
  "a negative offset": ({ name, random }) =>
    named(name, TOP - PAGE * BigInt(random.between(1, 5000)), PAGE),
  "an end that is a page by 64 bits": ({ name, random }) => {
    const before = BigInt(random.between(1, 100));
    return named(name, TOP - PAGE * before, PAGE * (before + 1n));
  },
  "an end that is nothing by 64 bits": ({ name }) => named(name, TOP - PAGE, PAGE),
  "the sign's bit": ({ name }) => named(name, 1n << 63n, PAGE),
  "beyond exact numbers": ({ name, random }) =>
    named(name, (1n << 53n) + PAGE * BigInt(random.below(9)), PAGE),
  "an unaligned offset": ({ name, random }) => named(name, BigInt(random.between(1, 4095)), PAGE),
  "an unaligned length": ({ name, random }) => named(name, 0n, BigInt(random.between(1, 4095))),
  "no length": ({ name }) => named(name, 0n, 0n),
  "an unknown block": ({ random }) => named(encoder.encode(`ram${random.below(1000)}`), 0n, PAGE),
  "a part of a name": ({ name }) => named(name.subarray(0, -1), 0n, PAGE),
  "a name and a zero": ({ name }) => named(Uint8Array.of(...name, 0), 0n, PAGE),
  "a name of 255 bytes": ({ random }) =>
    named(encoder.encode("x".repeat(random.pick([254, 255]))), 0n, PAGE),
  "no name": () => named(new Uint8Array(0), 0n, PAGE),
  "a name in no alphabet": () => named(Uint8Array.of(0xff, 0xfe, 0x80), 0n, PAGE),
  "a name longer than it says": ({ name }) => {
    const bytes = named(name, 0n, PAGE);
    bytes[16]! -= 1;
    return bytes;
  },
  "a name shorter than it says": ({ name }) => {
    const bytes = named(name, 0n, PAGE);
    bytes[16] = 255;
    return bytes;
  },
  "a message longer than any": ({ random }) => {
    const bytes = nameless(0n, PAGE);
    new DataView(bytes.buffer).setUint16(2, random.between(13, 0xffff));
    return bytes;
  },
  "a message of no kind": ({ random }) => {
    const bytes = nameless(0n, PAGE);
    new DataView(bytes.buffer).setUint16(0, random.pick([0, 8, 0x300, 0xffff]));
    return bytes;
  },
} as const satisfies Record<string, (draw: Draw) => Uint8Array>;

interface Draw {
  readonly random: Random;
  /** Of a block that there is: its name, and where its last page begins. */
  readonly name: Uint8Array;
  readonly last: bigint;
}

/** What can be wrong with a message. */
export const FAULTS = Object.keys(WRONG) as readonly (keyof typeof WRONG)[];

interface Block {
  readonly name: string;
  readonly usedLength: number;
}

/** Draws what a destination says. */
export class RandomRequests {
  readonly #blocks: readonly Block[];
  readonly #random: Random;

  /** @param blocks those that there are */
  constructor(blocks: readonly Block[], random: Random) {
    this.#blocks = blocks;
    this.#random = random;
  }

  /** A message that no destination says. */
  wrong(what: keyof typeof WRONG): Message {
    const random = this.#random;
    const { name, usedLength } = random.pick(this.#blocks);
    const last = BigInt(usedLength) - PAGE;
    return { what, bytes: WRONG[what]({ random, name: encoder.encode(name), last }) };
  }

  /** Requests that overlap, alone and with one another, and that may leave out the name. */
  right(): Message {
    const random = this.#random;
    const block = random.pick(this.#blocks);
    const pages = block.usedLength / PAGE_BYTES;
    const pieces: Uint8Array[] = [];
    const wanted: Wanted[] = [];
    const count = random.between(1, 6);
    for (let index = 0; index < count; index++) {
      const first = random.below(pages);
      const some = random.between(1, Math.min(pages - first, random.pick([1, 20])));
      const [start, length] = [first * PAGE_BYTES, some * PAGE_BYTES];
      wanted.push({ block: block.name, start, length });
      pieces.push(
        index > 0 && random.oneIn(2)
          ? nameless(BigInt(start), BigInt(length))
          : named(encoder.encode(block.name), BigInt(start), BigInt(length)),
      );
    }
    return { what: "requests", bytes: join(pieces), wanted };
  }

  /** Far more requests for a few pages than are kept. */
  flood(count: number): Message {
    const { bytes, wanted } = this.right();
    return { what: "a flood", bytes: join(new Array(count).fill(bytes)), wanted: wanted! };
  }

  /** The first request of a connection without a block's name. */
  nameless(): Message {
    return { what: "no block before", bytes: nameless(0n, PAGE) };
  }

  /** Bytes of any kind; what may be right by accident is cut off. */
  garbage(): Message {
    const bytes = this.#random.bytes(this.#random.between(600, 3000));
    bytes[0] = this.#random.between(1, 255); // kinds of messages are small numbers
    return { what: "garbage", bytes };
  }
}

function nameless(start: bigint, length: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, MESSAGE.REQUEST_PAGES);
  view.setUint16(2, 12);
  view.setBigUint64(4, start);
  view.setUint32(12, Number(length));
  return bytes;
}

function named(name: Uint8Array, start: bigint, length: bigint): Uint8Array<ArrayBuffer> {
  const head = nameless(start, length);
  const view = new DataView(head.buffer);
  view.setUint16(0, MESSAGE.REQUEST_PAGES_NAMED);
  view.setUint16(2, 13 + name.length);
  return Uint8Array.of(...head, name.length, ...name);
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
