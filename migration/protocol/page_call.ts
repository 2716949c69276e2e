/** What is said before the stream where the source listens: which image is wanted, and the answer. */

import { readU16, readU32 } from "./byte_order.ts";
import { ByteWriter } from "./byte_writer.ts";
import { decodeName } from "./names.ts";
import { ProtocolError } from "./protocol_error.ts";

/** "PCPS": no stream, and no page's record, begins so. */
const MAGIC = 0x50435053;
const VERSION = 1;
const HEAD_BYTES = 6;
/** Bytes of what tells a caller's second connection from everybody else's: nobody guesses them. */
export const TICKET_BYTES = 16;
/** Bytes of what tells an image from every other. */
export const IDENTITY_BYTES = 32;
/** Most bytes of a call. */
export const MAX_CALL_BYTES: number = HEAD_BYTES + 1 + 255 + IDENTITY_BYTES;
/** Most bytes of the text of a refusal. */
const MAX_REASON_BYTES = 1024;
/** Most bytes of an answer. */
export const MAX_CALL_ANSWER_BYTES: number = 3 + MAX_REASON_BYTES;

const Wish = { BEGIN: 1, GO_ON: 2, PREEMPT: 3 } as const;
const Answer = { WELCOME: 0, REFUSED: 1 } as const;

const CHANNEL = "call";

/** What a connection is for. */
export type PageCall =
  /** The main channel of an image from its beginning. */
  | { readonly kind: "begin"; readonly name: string }
  /** The main channel of one that was begun: the caller says which pages it has. */
  | { readonly kind: "go-on"; readonly name: string; readonly identity: Uint8Array }
  /** The preempt channel that belongs to a main channel. */
  | { readonly kind: "preempt"; readonly ticket: Uint8Array };

/** What a call is answered with. */
export type PageCallAnswer =
  /** The caller of a main channel makes the preempt channel now, with this ticket; then the stream begins. */
  | { readonly kind: "welcome"; readonly ticket: Uint8Array; readonly identity: Uint8Array }
  /** And the connection ends. */
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Encodes a call.
 *
 * @throws {RangeError} when the name is empty or longer than 255 bytes
 */
export function encodePageCall(call: PageCall): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(MAX_CALL_BYTES);
  writer.u32(MAGIC);
  writer.u8(VERSION);
  switch (call.kind) {
    case "begin":
      writer.u8(Wish.BEGIN);
      writer.name(call.name);
      break;
    case "go-on":
      writer.u8(Wish.GO_ON);
      writer.name(call.name);
      writer.bytes(call.identity);
      break;
    case "preempt":
      writer.u8(Wish.PREEMPT);
      writer.bytes(call.ticket);
  }
  return writer.take();
}

/**
 * Says how long a call is, as far as its beginning tells.
 *
 * @param bytes with the beginning of it
 * @param length of the beginning
 * @returns bytes that it has at least: as many as there are when it is whole
 * @throws {ProtocolError} when it is none
 */
export function pageCallLength(bytes: Uint8Array, length: number): number {
  const expected = [0x50, 0x43, 0x50, 0x53, VERSION];
  for (let at = 0; at < Math.min(length, expected.length); at++) {
    if (bytes[at] !== expected[at]) throw malformed(at, `byte ${bytes[at]}`);
  }
  if (length < HEAD_BYTES) return HEAD_BYTES;
  switch (bytes[HEAD_BYTES - 1]) {
    case Wish.PREEMPT:
      return HEAD_BYTES + TICKET_BYTES;
    case Wish.BEGIN:
    case Wish.GO_ON: {
      const fixed = bytes[HEAD_BYTES - 1] === Wish.GO_ON ? IDENTITY_BYTES : 0;
      return HEAD_BYTES + 1 + (length > HEAD_BYTES ? bytes[HEAD_BYTES]! + fixed : 0);
    }
  }
  throw malformed(HEAD_BYTES - 1, `wish ${bytes[HEAD_BYTES - 1]}`);
}

/**
 * Decodes a call that is whole.
 *
 * @throws {ProtocolError} when its name is none
 */
export function decodePageCall(bytes: Uint8Array): PageCall {
  if (readU32(bytes, 0) !== MAGIC) throw malformed(0, "another beginning");
  const wish = bytes[HEAD_BYTES - 1];
  if (wish === Wish.PREEMPT) {
    return { kind: "preempt", ticket: bytes.slice(HEAD_BYTES, HEAD_BYTES + TICKET_BYTES) };
  }
  const end = HEAD_BYTES + 1 + bytes[HEAD_BYTES]!;
  const name = decodeName(bytes.slice(HEAD_BYTES + 1, end), HEAD_BYTES + 1, "an image", CHANNEL);
  if (wish === Wish.BEGIN) return { kind: "begin", name };
  return { kind: "go-on", name, identity: bytes.slice(end, end + IDENTITY_BYTES) };
}

/** Encodes an answer; a reason that is too long is cut. */
export function encodePageCallAnswer(answer: PageCallAnswer): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(MAX_CALL_ANSWER_BYTES);
  if (answer.kind === "welcome") {
    writer.u8(Answer.WELCOME);
    writer.bytes(answer.ticket);
    writer.bytes(answer.identity);
    return writer.take();
  }
  const room = new Uint8Array(MAX_REASON_BYTES);
  const { written } = new TextEncoder().encodeInto(answer.reason, room);
  writer.u8(Answer.REFUSED);
  writer.u16(written);
  writer.bytes(room, 0, written);
  return writer.take();
}

/**
 * {@linkcode pageCallLength}, of an answer.
 *
 * @throws {ProtocolError} when it is none
 */
export function pageCallAnswerLength(bytes: Uint8Array, length: number): number {
  if (length === 0) return 1;
  if (bytes[0] === Answer.WELCOME) return 1 + TICKET_BYTES + IDENTITY_BYTES;
  if (bytes[0] !== Answer.REFUSED) throw malformed(0, `answer ${bytes[0]}`);
  if (length < 3) return 3;
  const reason = readU16(bytes, 1);
  if (reason > MAX_REASON_BYTES) throw malformed(1, `a reason of ${reason} bytes`);
  return 3 + reason;
}

/** Decodes an answer that is whole. */
export function decodePageCallAnswer(bytes: Uint8Array): PageCallAnswer {
  if (bytes[0] === Answer.WELCOME) {
    const end = 1 + TICKET_BYTES;
    return {
      kind: "welcome",
      ticket: bytes.slice(1, end),
      identity: bytes.slice(end, end + IDENTITY_BYTES),
    };
  }
  const text = new TextDecoder().decode(bytes.subarray(3, 3 + readU16(bytes, 1)));
  // It ends up on somebody's terminal.
  return { kind: "refused", reason: text.replace(/\p{Cc}/gu, "?") };
}

function malformed(offset: number, found: string): ProtocolError {
  return new ProtocolError(
    "bad-message",
    offset,
    "a call for pages, or its answer",
    found,
    CHANNEL,
  );
}
