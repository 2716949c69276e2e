/** The head of a multifd packet, written where its sender wants it, again for each packet. */

import { writeU32, writeU64 } from "./byte_order.ts";
import {
  MULTIFD_FLAG,
  MULTIFD_HEAD_BYTES,
  MULTIFD_MAGIC,
  MULTIFD_NAME_BYTES,
  MULTIFD_VERSION,
  type MultifdMethod,
  multifdPages,
} from "./multifd.ts";

const NAME = MULTIFD_HEAD_BYTES - MULTIFD_NAME_BYTES;
/** Where a channel's first words have the machine, and behind it the channel's number. */
const UUID = 8;
const UUID_END = 24;

/** What a head says beside the pages' offsets. */
export interface MultifdHeadFields {
  /** Unique among the packets of all channels. */
  readonly number: number;
  readonly sync: boolean;
  /** How the content is compressed. */
  readonly method: MultifdMethod;
  /** Name of the pages' block as `encodeName` gives it; undefined for a packet without pages. */
  readonly block: Uint8Array | undefined;
  readonly normalPages: number;
  readonly zeroPages: number;
  /** Bytes that follow. */
  readonly payloadBytes: number;
}

/**
 * Bytes of a head: as many for every packet of a machine.
 *
 * @param targetPageSize bytes
 */
export function multifdHeadBytes(targetPageSize: number): number {
  return MULTIFD_HEAD_BYTES + multifdPages(targetPageSize) * 8;
}

/**
 * Writes a head's fixed part, over what was there before.
 *
 * @param bytes a head's own, all zero before the first packet
 * @param pages offsets that there is room for
 */
export function writeMultifdHead(
  bytes: Uint8Array,
  pages: number,
  fields: MultifdHeadFields,
): void {
  const { number, sync, method, block, normalPages, zeroPages, payloadBytes } = fields;
  writeU32(bytes, 0, MULTIFD_MAGIC);
  writeU32(bytes, 4, MULTIFD_VERSION);
  writeU32(bytes, 8, (sync ? MULTIFD_FLAG.SYNC : 0) | method);
  writeU32(bytes, 12, pages);
  writeU32(bytes, 16, normalPages);
  writeU32(bytes, 20, payloadBytes);
  writeU64(bytes, 24, number);
  writeU32(bytes, 32, zeroPages);
  bytes.fill(0, NAME, MULTIFD_HEAD_BYTES);
  if (block !== undefined) bytes.set(block, NAME);
}

/**
 * Writes where a page lies.
 *
 * @param index of the page in its packet: first the normal ones, then the zero ones
 * @param offset bytes from the start of the block
 */
export function writeMultifdOffset(bytes: Uint8Array, index: number, offset: number): void {
  writeU64(bytes, MULTIFD_HEAD_BYTES + index * 8, offset);
}

/**
 * Writes what a channel says once, before its first packet.
 *
 * @param bytes `MULTIFD_INIT_BYTES` of them, all zero
 * @param id the channel's number, from 0
 * @param uuid the machine's, 16 bytes
 */
export function writeMultifdInit(bytes: Uint8Array, id: number, uuid: Uint8Array): void {
  writeU32(bytes, 0, MULTIFD_MAGIC);
  writeU32(bytes, 4, MULTIFD_VERSION);
  bytes.set(uuid.subarray(0, UUID_END - UUID), UUID);
  bytes[UUID_END] = id;
}
