/** One process that CRIU restores: its events read, its faults answered, the rest of its memory filled. */

import { monotonicNanoseconds } from "../../../ffi/clock.ts";
import { Errno, errnoName } from "../../../ffi/errno.ts";
import { FaultReader, UffdEvent } from "../../../ffi/fault_reader.ts";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { LazyCounter, LazyState } from "../lazy_state.ts";
import { LOOK_INTERVAL } from "../page_loss.ts";
import { Parking } from "../parking.ts";
import { PendingFaults } from "../pending_faults.ts";
import { BASE_PAGE } from "../region.ts";
import { Attempt } from "../region_placer.ts";
import type { AddressMap } from "./address_map.ts";
import { AddressPlacer } from "./address_placer.ts";
import { type CriuPages, DISK_INTERVAL } from "./criu_pages.ts";
import { FillPace } from "./fill_pace.ts";
import { MissingPages } from "./missing_pages.ts";
import { PlannedPages } from "./planned_pages.ts";
import type { CriuTree } from "./criu_tree.ts";
import type { PageTaker } from "./page_server_link.ts";
import type { CriuProcessInit } from "./criu_process_init.ts";
import type { PageRuns } from "./page_runs.ts";
import type { ProcessMap } from "./process_map.ts";

/** Messages taken by one read, and reads a step: a process that floods gets 256 messages a step. */
const MESSAGES = 64;
const READS_A_STEP = 4;

/**
 * A process. All is done on one thread, so that no page can become stale: between the look at the map and the
 * ioctl no event is read, and as long as one is not read the kernel refuses (EAGAIN). A fault is kept by its
 * address and looked up anew at each try, for the message of a page that moved comes behind the fault.
 */
export class CriuProcess implements PageTaker {
  readonly id: number;
  readonly uffd: number;
  readonly imageId: number;
  readonly state = new LazyState();
  readonly runs: PageRuns;
  readonly map: ProcessMap;
  readonly placed: PageBitmap;
  readonly #tree: CriuTree<CriuProcess>;
  readonly #reader: FaultReader;
  readonly #map: AddressMap;
  readonly #placed: PageBitmap;
  /** Pages on their way from the page server. */
  readonly #asked: PageBitmap;
  readonly #missing: MissingPages;
  readonly #planned: PlannedPages | undefined;
  readonly #placer: AddressPlacer;
  readonly #pages: CriuPages;
  readonly #pending = new PendingFaults();
  readonly #parking = new Parking();
  readonly #pace = new FillPace();
  #onWay = 0;
  #gone = false;
  #refused = false;
  #lookedForDeath = 0;

  /** @param pages of this process, its own */
  constructor(init: CriuProcessInit, pages: CriuPages, tree: CriuTree<CriuProcess>) {
    this.id = init.map.id;
    this.uffd = init.uffd;
    this.imageId = init.map.imageId;
    this.runs = init.runs;
    this.map = init.map;
    this.placed = this.#placed = init.placed;
    this.#tree = tree;
    this.#pages = pages;
    this.#map = init.map.addresses;
    this.#reader = tree.record?.newReader(init.uffd) ?? new FaultReader(init.uffd, MESSAGES);
    this.#asked = new PageBitmap(init.placed.length);
    this.#missing = new MissingPages(this.#map, this.#placed, this.#asked);
    const { plan } = init;
    this.#planned = plan && new PlannedPages(this.#map, this.#placed, this.#asked, plan);
    this.#placer = new AddressPlacer(init.uffd, tree.hooks);
  }

  /** True once the process has no memory any more. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Whether somebody waits for a page. */
  get waiting(): boolean {
    return this.#pending.count > 0;
  }

  /** True when nothing is missing, nor on its way. */
  get complete(): boolean {
    return !this.waiting && this.#onWay === 0 && !this.#missing.seek();
  }

  /** Takes all messages that are there: nothing is placed before what they tell is known. */
  read(): void {
    this.#refused = false;
    const { record } = this.#tree;
    for (let reads = 0; reads < READS_A_STEP; reads++) {
      record?.beforeRead(this.id);
      const count = this.#reader.read();
      record?.afterRead(count);
      if (count === -Errno.EAGAIN) return;
      if (count < 0 && count !== -Errno.EINTR) return this.#unread(-count);
      if (record !== undefined) this.#tree.holdChildren(this.#reader, count);
      this.#tree.hooks.afterRead?.(this.#reader, count);
      for (let message = 0; message < count; message++) this.#hear(message);
      // What comes behind this is not known either when a read finds nothing: the kernel refuses, then.
      if (count >= 0 && count < this.#reader.capacity) return;
    }
    this.#tree.again();
  }

  /** Sees that what is known of its map is sure; to be called when all messages were read. */
  settle(): void {
    if (!this.map.settle(this.#placer, this.#tree.record)) this.#ends(Attempt.LATER);
  }

  /** Has all who wait for a page ask again: a server before this one has heard them. */
  wakeAll(): void {
    this.#placer.wakeAll();
  }

  /** Answers who waits, oldest first. */
  answer(): void {
    for (let index = 0; index < this.#pending.count && !this.#gone && !this.#refused;) {
      const attempt = this.#answerOne(index, this.#pending.page(index));
      if (attempt === undefined) index++; // it has to wait, others need not
      else if (!this.#ends(attempt)) {
        if (attempt === Attempt.DONE && !this.#placer.wasPresent) {
          this.state.add(LazyCounter.URGENT_PAGES, this.#placer.pages);
        }
        this.#missing.goTo(this.#pending.page(index) + BASE_PAGE);
        this.#pending.remove(index);
      }
    }
    this.state.set(LazyCounter.WAITING, this.#pending.count);
  }

  /**
   * Places or asks for some pages that nobody waits for.
   *
   * @returns whether there may be more to do at once
   */
  fill(): boolean {
    if (this.#refused || this.#gone) return false;
    const way = this.#planned?.seek() === true ? this.#planned : this.#missing;
    if (way === this.#missing && !way.seek()) return false;
    const { page, address } = way;
    const run = this.runs.runOf(page);
    const most = Math.min(way.end, this.runs.endOf(run)) - page;
    if (this.runs.runs[run]!.file < 0) return this.#fillFromServer(page, address, most);
    const batch = Math.min(most, this.#pace.batch(this.#missingAtMost));
    if (this.waiting || !this.#pages.mayTry || !this.#fillIsAtHand(page, batch)) return false;
    const attempt = this.#placeOwn(page, address, batch);
    if (attempt === undefined || this.#ends(attempt)) return false;
    if (attempt === Attempt.UNMAPPED) this.#placed.fill(page, this.#placer.pages); // nobody can touch it
    else if (!this.#placer.wasPresent) {
      this.state.add(LazyCounter.BACKGROUND_PAGES, this.#placer.pages);
    }
    this.#missing.goTo(address + this.#placer.pages * BASE_PAGE);
    this.#pace.placed();
    return true;
  }

  /** Pages that are not in place, and such as were removed. */
  get #missingAtMost(): number {
    const { state } = this;
    return this.runs.pageCount - state.get(LazyCounter.URGENT_PAGES) -
      state.get(LazyCounter.BACKGROUND_PAGES);
  }

  /** See {@linkcode PageTaker.take}. */
  take(page: number, count: number, from: number, urgent: boolean): number {
    const address = this.#gone ? -1 : this.#map.addressOf(page);
    if (address < 0 || this.#placed.has(page)) return this.#arrived(page, 1); // removed meanwhile
    if (this.#refused) return 0;
    const segment = this.#map.segments[this.#map.find(address)]!;
    const most = Math.min(count, segment.firstPage + segment.pages - page);
    const attempt = this.#placeCame(address, from, most);
    if (this.#ends(attempt)) return this.#gone ? this.#arrived(page, count) : 0;
    const { pages, wasPresent } = this.#placer;
    if (attempt === Attempt.DONE || this.#tree.restored) this.#placed.fill(page, pages);
    if (attempt === Attempt.DONE && !wasPresent) {
      this.state.add(urgent ? LazyCounter.URGENT_PAGES : LazyCounter.BACKGROUND_PAGES, pages);
    }
    if (!urgent) this.#pace.came(pages);
    this.#pending.removeBetween(address, address + pages * BASE_PAGE);
    return this.#arrived(page, pages);
  }

  /** See {@linkcode PageTaker.miss}. */
  miss(page: number, count: number): void {
    this.#arrived(page, count);
  }

  /** Looks whether the process is gone, now and again: nothing else tells it. */
  lookForDeath(now: number): void {
    if (now - this.#lookedForDeath < LOOK_INTERVAL) return;
    this.#lookedForDeath = now;
    if (!this.#placer.isAlive()) this.#gone = true;
  }

  /**
   * Has whoever touches a missing page get SIGBUS from now on: nobody will serve it, and the kernel answers
   * with zeros as soon as the userfaultfd is closed.
   *
   * @returns false as long as some are not marked, for the process changes its map
   * @throws {SyscallError} where the kernel has no such mark (before Linux 6.6)
   */
  poisonMissing(): boolean {
    if (this.#refused) return false;
    this.#asked.clear(0, this.runs.pageCount);
    while (!this.#gone && this.#missing.seek()) {
      const { page, address, end } = this.#missing;
      let attempt = this.#placer.poison(address, end - page);
      if (attempt === Attempt.UNMAPPED) attempt = this.#placer.poison(address);
      if (this.#ends(attempt)) return this.#gone;
      this.#placed.fill(page, this.#placer.pages);
      if (attempt === Attempt.DONE) this.state.add(LazyCounter.POISONED, this.#placer.pages);
    }
    return true;
  }

  #hear(message: number): void {
    const reader = this.#reader;
    const event = reader.event(message);
    if (event === UffdEvent.PAGEFAULT) return this.#fault(reader.address(message));
    const from = reader.movedFrom(message);
    const to = reader.movedTo(message);
    const length = reader.movedLength(message);
    this.#tree.record?.append(event, this.id, from, to, length);
    if (event === UffdEvent.FORK) this.#tree.forked(this, reader.forkedDescriptor(message));
    else this.state.add(LazyCounter.REMOVALS, this.map.apply(event, from, to, length));
    this.#parking.refresh();
  }

  #fault(address: number): void {
    this.state.add(LazyCounter.FAULTS, 1);
    this.#pace.slowDown();
    this.#note(address);
    this.#pending.add(address - address % BASE_PAGE);
  }

  /** Notes a touch, as well as is known: a message that its memory has moved may come behind it. */
  #note(address: number): void {
    if (this.#tree.touches === undefined) return;
    const page = this.#map.pageAt(address);
    if (page >= 0) this.#tree.touches.note(this.#tree.firstPageOf(this.imageId) + page);
  }

  /** A message is there and cannot be read: of a fork, when no descriptor is left. */
  #unread(code: number): void {
    this.#refused = true;
    this.#tree.held(
      this,
      `Cannot read what it does: ${errnoName(code)}: raise ulimit -n if it is EMFILE`,
    );
    this.#tree.wait(LOOK_INTERVAL);
  }

  /** @returns undefined when the page waits for a disk or the page server, or is lost */
  #answerOne(index: number, address: number): Attempt | undefined {
    const page = this.#map.pageAt(address);
    // A page that is in place faults when the kernel took it, as MADV_FREE allows: it is zero then.
    if (page < 0 || this.#placed.has(page)) return this.#placeCame(address, 0, 1);
    const run = this.runs.runOf(page);
    if (this.runs.runs[run]!.file < 0) return this.#askUrgently(page, address);
    if (this.#pages.mayTry) {
      if (!this.#isAtHand(index, page)) return undefined;
      const attempt = this.#placeOwn(page, address, 1);
      if (attempt !== undefined) return attempt;
    }
    return this.#lost(this.#pages.loss.answer(address, this.#placer));
  }

  #askUrgently(page: number, address: number): Attempt | undefined {
    const link = this.#tree.link!;
    if (link.lost !== undefined) {
      this.#pages.serverLoss.begin(link.lost, monotonicNanoseconds());
      return this.#lost(this.#pages.serverLoss.answer(address, this.#placer));
    }
    if (!this.#asked.has(page)) this.#ask(page, 1, true);
    return undefined;
  }

  #lost(attempt: Attempt | undefined): Attempt | undefined {
    if (attempt === Attempt.DONE) this.state.add(LazyCounter.POISONED, 1);
    return attempt;
  }

  #fillFromServer(page: number, address: number, most: number): boolean {
    const link = this.#tree.link!;
    const count = this.#pace.pagesToAsk(most, link.pagesOnWay);
    if (link.lost !== undefined || count === 0) return false;
    this.#ask(page, count, false);
    this.#missing.goTo(address + count * BASE_PAGE);
    return true;
  }

  #ask(page: number, count: number, urgent: boolean): void {
    this.#asked.fill(page, count);
    this.#onWay += count;
    const run = this.runs.runOf(page);
    const address = this.runs.runs[run]!.address + (page - this.runs.firstPageOf(run)) * BASE_PAGE;
    this.#tree.link!.ask(this, page, address, count, urgent);
  }

  #arrived(page: number, count: number): number {
    this.#asked.clear(page, count);
    this.#onWay -= count;
    return count;
  }

  /** Places pages from a file. Undefined: they cannot be had. */
  #placeOwn(page: number, address: number, count: number): Attempt | undefined {
    try {
      const from = this.#pages.locate(page);
      const attempt = this.#placer.copy(address, from, count);
      if (attempt === Attempt.DONE) {
        this.#placed.fill(page, this.#placer.pages);
        this.#pages.loss.end();
      }
      return attempt;
    } catch (error) {
      this.#pages.lose(error, page);
      return undefined;
    }
  }

  /** Places pages that are here, or zeros (`from` 0). What the kernel lacks for it, memory, it may have later. */
  #placeCame(address: number, from: number, count: number): Attempt {
    try {
      return from === 0 ? this.#placer.zero(address) : this.#placer.copy(address, from, count);
    } catch (error) {
      this.#tree.held(this, (error as Error).message);
      this.#tree.wait(LOOK_INTERVAL);
      return Attempt.LATER;
    }
  }

  /** Sees what came of an attempt; true when the process is gone, or nothing can be placed now. */
  #ends(attempt: Attempt): boolean {
    if (attempt === Attempt.GONE) return this.#gone = true;
    if (attempt !== Attempt.LATER) {
      this.#parking.refresh();
      return false;
    }
    this.#refused = true;
    this.state.add(LazyCounter.PARKED, 1);
    const nanoseconds = this.#parking.refused();
    if (nanoseconds === 0) this.#tree.again();
    else this.#tree.wait(nanoseconds);
    return true;
  }

  /** Whether a page that somebody waits for can be read now; if not, it is on its way. */
  #isAtHand(index: number, page: number): boolean {
    if (this.#pages.has(page, 1)) return true;
    const now = monotonicNanoseconds();
    const since = this.#pending.since(index);
    if (this.#pages.awaitPage(page, since, now)) return true;
    if (since === 0) this.#pending.setSince(index, now);
    this.#tree.wait(DISK_INTERVAL);
    return false;
  }

  #fillIsAtHand(page: number, count: number): boolean {
    const pages = this.#pages;
    if (pages.has(page, count) || pages.awaitFill(page, monotonicNanoseconds())) return true;
    this.#tree.wait(DISK_INTERVAL);
    return false;
  }
}
