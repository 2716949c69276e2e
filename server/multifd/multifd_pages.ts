/** The channels of multifd, as the task sees them that finds the pages. */

import { TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { type RamBlock, type RamBlockSize, RamLayout } from "../../migration/memory/ram_layout.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import type { PageRecords } from "../sending/page_records.ts";
import type { Beside, NextAct, PageSaver } from "../sending/page_saver.ts";
import type { SenderCounters } from "../sending/source_state.ts";
import { type MultifdInit, PacketLayout, PacketWord } from "./packet_slots.ts";

/** The blocks of the pages. */
export interface PacketBlocks {
  readonly blocks: readonly RamBlockSize[];
  readonly targetPageSize: number;
}

/** Who counts. */
export interface PacketCounters {
  readonly background: SenderCounters;
  readonly multifd: SenderCounters;
}

/**
 * Gives pages to the channels, packet by packet, to each channel in its turn while it has room. Zero pages go
 * with them, or into the main channel's batch where the destination may not know them there.
 *
 * Within a round no page comes twice, and so the channels may overtake each other. Where one ends, every channel
 * gets a mark behind its last packet and the main channel's batch one too: a destination takes nothing behind
 * them before it has come to all of them.
 */
export class MultifdPages implements PageSaver, Beside {
  readonly #records: PageRecords;
  readonly #init: MultifdInit;
  readonly #counters: PacketCounters;
  readonly #ram: RamLayout;
  readonly #packet: PacketLayout;
  readonly #rings: WorkRings;
  readonly #ends: readonly SendingEnd[];
  readonly #pageBytes: number;
  /** Where the words of the packet that is being made begin; -1: there is none. */
  #at = -1;
  #block: RamBlock | undefined;
  #normal = 0;
  #zero = 0;
  /** A page that is to go into the next packet, once there is room for one; -1: none is. */
  #waiting = -1;
  #waitingAddress = 0;
  /** Number of the next packet; the channels have begun with one each. */
  #number: number;
  /** Channel that gets the next. */
  #next = 0;
  /** Whether pages were sent since the last mark, or one is wanted all the same. */
  #unmarked = false;
  /** Channels that got their mark of this round. */
  #marks = 0;
  #marked = false;
  #broken = false;
  #bytes = 0;
  #pages = 0;

  /**
   * @param records the main channel's batch
   * @param init the channels, which have all entered
   * @param memory the blocks of the pages
   * @param counters what was sent is added to
   */
  constructor(
    records: PageRecords,
    init: MultifdInit,
    { blocks, targetPageSize }: PacketBlocks,
    counters: PacketCounters,
  ) {
    this.#records = records;
    this.#init = init;
    this.#counters = counters;
    this.#ram = new RamLayout(blocks, targetPageSize);
    this.#packet = new PacketLayout(targetPageSize);
    this.#rings = new WorkRings(init.shape, init.rings);
    this.#ends = init.connections.map((each) => new SendingEnd(each, TO_DESTINATION.MULTIFD));
    this.#pageBytes = targetPageSize;
    this.#number = init.connections.length;
  }

  readonly beside = this;

  get wakeFd(): number {
    return this.#rings.wakeFd;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get pages(): number {
    return this.#pages;
  }

  get unacknowledged(): number {
    return this.#ends.reduce((sum, end) => sum + end.unacknowledged, 0);
  }

  get marked(): boolean {
    return this.#marked;
  }

  get marksAll(): boolean {
    return this.#init.marks === "sections";
  }

  /** Not 0 also when all pages are sent, as long as the end of the round is not marked. */
  get outstanding(): number {
    return this.#rings.outstanding + (this.#unmarked ? 1 : 0);
  }

  prepare(): NextAct {
    if (this.#records.full) return "send";
    // Results are looked at for each packet, not for each page: that takes a look at every channel.
    while (this.#at < 0) {
      this.#take();
      if (this.#open()) break;
      if (this.#rings.stopped) return "send";
      if (this.#mustWait()) return "wait";
    }
    return "save";
  }

  save(page: number): void {
    const address = this.#records.locate(page);
    this.#unmarked = true;
    if (address === 0 && !this.#init.zeroPages) return this.#records.addZero(page);
    this.#bytes += this.#pageBytes;
    if (address !== 0) this.#pages++;
    // A packet has pages of one block.
    const block = this.#ram.blockOf(page);
    if (block !== this.#block && this.#normal + this.#zero > 0) {
      this.#submit();
      this.#waiting = page;
      this.#waitingAddress = address;
      return;
    }
    this.#add(page, address);
  }

  mark(): void {
    this.#unmarked = true;
  }

  settle(): boolean {
    while (!this.#settled()) {
      if (this.#rings.stopped) return true;
      if (this.#mustWait()) return false;
    }
    return true;
  }

  sent(): void {
    this.#marked = false;
  }

  /** Gets on with all that is to be done before the round can end; false when that is not all. */
  #settled(): boolean {
    this.#take();
    if (this.#waiting >= 0 && !this.#open()) return false;
    if (this.#normal + this.#zero > 0) this.#submit();
    if (this.#unmarked && !this.#markChannels()) return false;
    if (this.#rings.outstanding > 0) return false;
    if (!this.#unmarked) return true;
    this.#unmarked = false;
    this.#marks = 0;
    this.#marked = true;
    if (this.#init.marks === "records") this.#records.addMultifdFlush();
    return true;
  }

  /** Gives every channel its mark; false when one has no room for it yet. */
  #markChannels(): boolean {
    this.#at = -1; // one that was begun, and got no page: its slot may be a mark's now
    for (; this.#marks < this.#ends.length; this.#marks++) {
      const slot = this.#rings.reserveOf(this.#marks);
      if (slot < 0) return false;
      this.#submitAt(this.#rings.at(slot), true);
    }
    return true;
  }

  /** Begins a packet, with the page that waits for one; false when no channel has room. */
  #open(): boolean {
    const { length } = this.#ends;
    for (let tried = 0; tried < length; tried++) {
      const slot = this.#rings.reserveOf((this.#next + tried) % length);
      if (slot < 0) continue;
      this.#next = (this.#next + tried + 1) % length;
      this.#at = this.#rings.at(slot);
      const page = this.#waiting;
      this.#waiting = -1;
      if (page >= 0) this.#add(page, this.#waitingAddress);
      return true;
    }
    return false;
  }

  #add(page: number, address: number): void {
    const { words } = this.#rings;
    const { pages, addresses } = this.#packet;
    const at = this.#at;
    if (this.#normal + this.#zero === 0) this.#block = this.#ram.blockOf(page);
    const number = page - this.#block!.firstPage;
    if (address === 0) { // from the end, for they come behind all others
      this.#zero++;
      words[at + PacketWord.PAGES + pages - this.#zero] = number;
    } else {
      words[at + PacketWord.PAGES + this.#normal] = number;
      const place = at + addresses + 2 * this.#normal++;
      words[place] = address; // ToInt32 takes the low half of a number below 2^53
      words[place + 1] = address / 0x1_0000_0000;
    }
    if (this.#normal + this.#zero === pages) this.#submit();
  }

  #submit(): void {
    const { words } = this.#rings;
    const first = this.#at + PacketWord.PAGES;
    const zero = first + this.#packet.pages - this.#zero;
    if (first + this.#normal < zero) {
      words.copyWithin(first + this.#normal, zero, zero + this.#zero);
    }
    this.#submitAt(this.#at, false);
    this.#at = -1;
  }

  #submitAt(at: number, sync: boolean): void {
    const { words } = this.#rings;
    words[at + PacketWord.NUMBER] = this.#number++;
    words[at + PacketWord.SYNC] = sync ? 1 : 0;
    words[at + PacketWord.BLOCK] = this.#block === undefined
      ? 0
      : this.#ram.blocks.indexOf(this.#block);
    words[at + PacketWord.NORMAL] = this.#normal;
    words[at + PacketWord.ZERO] = this.#zero;
    this.#normal = 0;
    this.#zero = 0;
    this.#rings.submit();
  }

  /** Counts what was sent, and frees its slots. */
  #take(): void {
    const { words } = this.#rings;
    let any = false;
    for (let slot = this.#rings.take(); slot >= 0; slot = this.#rings.take()) {
      const at = this.#rings.at(slot);
      const bytes = words[at + PacketWord.BYTES]!;
      const { background, multifd } = this.#counters;
      background.addPages(words[at + PacketWord.NORMAL]!, words[at + PacketWord.ZERO]!);
      background.addBytes(bytes);
      multifd.addBytes(bytes);
      any = true;
    }
    if (any) this.#rings.release();
  }

  /**
   * Whether to wait for the eventfd; false when there is something to be taken. What a channel has left that has
   * ended is never sent: then it is waited until the migration is told to stop, which that has failed.
   */
  #mustWait(): boolean {
    if (this.#broken || this.#rings.requestWake()) return true;
    if (this.#rings.outstanding === 0 || this.#rings.abandoned() >= 0) this.#broken = true;
    return this.#broken;
  }
}
