/** Packets on their way from the task that finds dirty pages to those that send them, one a channel. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { multifdPages } from "../../migration/protocol/multifd.ts";
import type { WorkRingsShape } from "../../migration/threads/work_rings.ts";
import type { MultifdSettings } from "./multifd_settings.ts";

/** How a destination is told that its main channel waits for the others. */
export type MultifdMarks =
  /** By a record, where a round ends: machine types from 8.1 on. */
  | "records"
  /** By the end of each section: older ones. */
  | "sections";

/** What the tasks of a migration's channels have in common: plain data, for `postMessage`. */
export interface ChannelsInit {
  readonly settings: MultifdSettings;
  readonly marks: MultifdMarks;
  /** Whether the destination, from 9.0 on, takes zero pages by their names in a packet. */
  readonly zeroPages: boolean;
  /** Workers and slots: a worker is a channel, a slot a packet. */
  readonly shape: WorkRingsShape;
  /** Shared memory of the rings. */
  readonly rings: SharedArrayBuffer;
}

/** The channels, for the task that gives them pages. */
export interface MultifdInit extends ChannelsInit {
  /** Their connections, in the order of their numbers. */
  readonly connections: readonly ConnectionInit[];
}

/** Packets of a channel that wait or are on their way: one to be sent, and the next being made. */
export const PACKETS_ON_THE_WAY = 2;

/** Words of a slot, going in; behind them the offsets and the addresses. */
export const PacketWord = {
  /** Unique among all packets. */
  NUMBER: 0,
  /** Not 0: the channel says that its round ends behind this packet. */
  SYNC: 1,
  /** Which of the blocks. */
  BLOCK: 2,
  NORMAL: 3,
  ZERO: 4,
  /** Coming out: bytes on the wire. */
  BYTES: 5,
  /** Of each page its number in the block, first the normal ones, then the zero ones. */
  PAGES: 6,
} as const;

/** Where the words of a slot lie, for a size of target pages. */
export class PacketLayout {
  /** Pages of a packet at most. */
  readonly pages: number;
  /** Words of a slot. */
  readonly words: number;
  /** Index of the first address among them: two words each, the low one first. */
  readonly addresses: number;

  /** @param targetPageSize bytes */
  constructor(targetPageSize: number) {
    this.pages = multifdPages(targetPageSize);
    this.addresses = PacketWord.PAGES + this.pages;
    this.words = this.addresses + 2 * this.pages;
  }
}
