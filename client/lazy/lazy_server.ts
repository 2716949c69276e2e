/** Serves one process whose userfaultfd was handed over: its events read, its faults answered, the rest filled. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Errno, errnoName } from "../../ffi/errno.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { UffdEvent } from "../../ffi/fault_reader.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import type { FillTurns } from "./fill_turns.ts";
import { FillWalk } from "./fill_walk.ts";
import { LazyCounter, LazyState } from "./lazy_state.ts";
import type { LazyInit, LazyMessage } from "./lazy_task.ts";
import { MemoryLocator } from "./memory_pages.ts";
import { LOOK_INTERVAL, PageLoss } from "./page_loss.ts";
import { Parking } from "./parking.ts";
import { PendingFaults } from "./pending_faults.ts";
import { PlannedWalk } from "./planned_walk.ts";
import { BASE_PAGE } from "./region.ts";
import { RegionMap } from "./region_map.ts";
import { Attempt, type PlacingHooks, RegionPlacer } from "./region_placer.ts";
import { ArrivalWalk } from "./remote/arrival_walk.ts";
import { ArrivingMemory } from "./remote/arriving_memory.ts";
import { RemovalRecord } from "./removal_record.ts";
import { StoredMemory } from "./stored_memory.ts";
import { TouchLog } from "./touch_log.ts";

/** Slots of the poll. */
const UFFD = 0;
const SOCKET = 1;
const PROCESS = 2;
const WAKE = 3;
const ARRIVALS = 4;

/** Reads a step: a process that floods gets 256 messages, then the others of this thread have a turn. */
const READS_A_STEP = 4;
/** Pages the kernel is asked to read ahead of the fill when one is not at hand: 4 MiB. */
const AHEAD_PAGES = 1024;

const SERVER_LOST = new Error("Server of the pages is out of reach, and they have not come");

/** The task of one session. */
export class LazyServer implements Task {
  readonly #init: LazyInit;
  readonly #tell: Tell<LazyMessage>;
  readonly #poll: TaskPoll;
  readonly #turns: FillTurns;
  readonly #state: LazyState;
  readonly #map: RegionMap;
  readonly #record: RemovalRecord;
  readonly #placed: PageBitmap;
  readonly #memory: MemoryLocator;
  readonly #stored: StoredMemory;
  /** Of an image that is elsewhere: the same, and the way of the fill as long as not all has come. */
  readonly #arriving: ArrivingMemory | undefined;
  readonly #arrivals: ArrivalWalk | undefined;
  readonly #planned: PlannedWalk | undefined;
  readonly #touches: TouchLog | undefined;
  readonly #placer: RegionPlacer;
  readonly #walk: FillWalk;
  readonly #pending = new PendingFaults();
  readonly #loss: PageLoss;
  #gone = false;
  #filled = false;
  #diskPage = -1;
  #diskSince = 0;
  readonly #parking = new Parking();
  /** Nanoseconds until the next step at the latest. */
  #patience = Infinity;
  /** Whether the image was seen to be what it was, in this step. */
  #checked = false;
  /** Whether the image is tried in this step. */
  #trying = true;
  /** Whether the kernel refused in this step. */
  #refused = false;
  /** Whether death is to be looked for, because nothing tells of it. */
  #probes = false;
  /** The last question that was answered. */
  #answered = 0;
  readonly #forget = (first: number, count: number): void => {
    this.#placed.clear(first, count);
    this.#state.add(LazyCounter.REMOVALS, count);
    this.#parking.refresh();
  };

  /**
   * @param turns of the thread's sessions
   * @param hooks of tests
   */
  constructor(
    init: LazyInit,
    tell: Tell<LazyMessage>,
    poll: TaskPoll,
    turns: FillTurns,
    hooks: PlacingHooks = {},
  ) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    this.#turns = turns;
    this.#state = new LazyState(init.state);
    this.#map = new RegionMap(init.regions);
    this.#record = new RemovalRecord(init.uffd, this.#map, init.record);
    this.#placed = new PageBitmap(Math.ceil(this.#map.pageCount / 32) * 32, init.placed);
    this.#walk = new FillWalk(this.#map, this.#placed, this.#record);
    this.#memory = new MemoryLocator(init.memory);
    if (init.arriving !== undefined) {
      this.#arriving = new ArrivingMemory(this.#memory, init.memory, init.arriving);
      this.#arrivals = new ArrivalWalk(this.#map, this.#placed, this.#record, this.#arriving);
      poll.watch(ARRIVALS, this.#arriving.eventFd, PollEvents.IN);
    }
    this.#stored = this.#arriving ?? new StoredMemory(this.#memory, init.memory.length);
    const { plan, touches } = init;
    this.#planned = plan && new PlannedWalk(this.#map, this.#placed, this.#record, plan);
    this.#touches = touches && new TouchLog(touches);
    this.#placer = new RegionPlacer(
      init.uffd,
      this.#map,
      this.#record,
      this.#memory,
      init.protect,
      hooks,
    );
    this.#loss = new PageLoss(init.onLoss, init.pidfd, tell);
    this.#filled = !init.fill;
    poll.watch(UFFD, init.uffd, PollEvents.IN);
    poll.watch(SOCKET, init.socketFd, PollEvents.RDHUP);
    poll.watch(PROCESS, init.pidfd, PollEvents.IN);
    poll.watch(WAKE, init.wakeFd, PollEvents.IN);
    this.#probes = init.socketFd < 0 && init.pidfd < 0;
    this.#placer.wakeAll();
  }

  /** Reads what is there, answers it, and fills a little. */
  step(): boolean {
    if (this.#poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    const arriving = this.#arriving;
    if (arriving !== undefined && this.#poll.ready(ARRIVALS) !== 0) clearEvent(arriving.eventFd);
    if (this.#state.stopped) return true;
    this.#patience = this.#probes ? LOOK_INTERVAL : Infinity;
    if (this.#processEnded()) return true;
    this.#checked = false;
    const { asked } = this.#state; // before what is read now
    if (this.#read() && asked !== this.#answered) {
      this.#answered = asked;
      this.#tell({ kind: "read", asked });
    }
    this.#trying = arriving !== undefined || this.#loss.mayTry(monotonicNanoseconds());
    this.#refused = false;
    this.#answer();
    if (arriving !== undefined) this.#seeServer(arriving);
    if (this.#mayFill) this.#fill();
    else this.#turns.leave(this.#poll);
    if (this.#loss.active) this.#wait(LOOK_INTERVAL);
    if (this.#patience !== Infinity) this.#poll.sleep(this.#patience);
    return this.#gone;
  }

  /** Frees its memory; the userfaultfd stays open, and whoever waits goes on waiting. */
  [Symbol.dispose](): void {
    this.#turns.leave(this.#poll);
    this.#placer[Symbol.dispose]();
  }

  /** Nothing is filled while anybody waits for what could be placed now. */
  get #mayFill(): boolean {
    if (this.#filled || !this.#trying || this.#refused) return false;
    return this.#pending.count === 0 || this.#arriving !== undefined;
  }

  /** Pages that are elsewhere are lost with their server; those that have come stay. */
  #seeServer({ lost }: ArrivingMemory): void {
    if (!lost) this.#loss.end();
    else if (this.#pending.count > 0) this.#loss.begin(SERVER_LOST, monotonicNanoseconds());
  }

  #wait(nanoseconds: number): void {
    if (nanoseconds < this.#patience) this.#patience = nanoseconds;
  }

  /** The connection or the process has ended; who said so need not be the one whose memory it is. */
  #processEnded(): boolean {
    const [socket, process] = [this.#poll.ready(SOCKET), this.#poll.ready(PROCESS)];
    if (socket === 0 && process === 0 && !this.#probes) return false;
    if (!this.#placer.isAlive()) return true;
    // Firecracker before 1.12 closes the connection at once.
    if (socket !== 0) this.#poll.watch(SOCKET, -1, 0);
    if (process !== 0) this.#poll.watch(PROCESS, -1, 0);
    if (process !== 0 || (socket !== 0 && this.#init.pidfd < 0)) {
      this.#probes = true;
      this.#wait(LOOK_INTERVAL);
    }
    return false;
  }

  /**
   * Takes all messages that are there: no page is placed before the removals among them are known.
   *
   * @returns false when there may be more
   */
  #read(): boolean {
    for (let reads = 0; reads < READS_A_STEP; reads++) {
      const count = this.#record.read();
      if (count === -Errno.EAGAIN) return true;
      if (count < 0 && count !== -Errno.EINTR) {
        throw new MigrationError("GUEST_FAILED", `Cannot read faults: ${errnoName(-count)}`);
      }
      for (let message = 0; message < count; message++) {
        if (this.#record.isPageFault(message)) this.#fault(this.#record.address(message));
        else this.#record.note(message, this.#forget);
        if (this.#record.event(message) === UffdEvent.FORK) this.#forked();
      }
      // What comes behind this is not known either when a read finds nothing: the kernel refuses, then.
      if (count >= 0 && count < this.#record.capacity) return true;
    }
    this.#poll.again();
    return false;
  }

  #fault(address: number): void {
    this.#state.add(LazyCounter.FAULTS, 1);
    const page = this.#map.pageAt(address);
    if (page >= 0) return this.#await(page);
    // Registered, and in no region that was told of: to answer it would be a guess.
    const where = `0x${address.toString(16)}`;
    this.#tell({ kind: "held", reason: `Touch of memory that was not handed over: ${where}` });
  }

  #await(page: number): void {
    const touches = this.#touches;
    if (touches !== undefined && !this.#record.has(page)) {
      touches.note(this.#map.offsetOf(page) / BASE_PAGE);
    }
    this.#pending.add(this.#map.hostPageOf(page));
  }

  /** The child's missing pages are asked for by a descriptor of its own, which stays open and unserved. */
  #forked(): void {
    const reason =
      "Process forked, and its child is not served: have the VMM not ask for FORK events";
    this.#tell({ kind: "held", reason });
  }

  /** Answers who waits, oldest first. */
  #answer(): void {
    for (let index = 0; index < this.#pending.count;) {
      const page = this.#pending.page(index);
      const end = this.#map.endOfHostPage(page);
      const attempt = this.#answerOne(index, page, end);
      if (attempt === undefined) {
        index++; // it has to wait, others need not
        continue;
      }
      if (attempt === Attempt.GONE) return void (this.#gone = true);
      if (attempt === Attempt.LATER) return this.#parkAll();
      this.#parking.refresh();
      this.#pending.remove(index);
      this.#walk.goTo(end);
    }
  }

  /** @returns undefined when the page waits for a disk, or is lost */
  #answerOne(index: number, page: number, end: number): Attempt | undefined {
    const fromImage = this.#record.nextKept(page, end) >= 0;
    if (fromImage && this.#trying && !this.#atHand(index, page, end)) {
      return this.#arriving?.lost === true ? this.#answerLost(page) : undefined;
    }
    const attempt = fromImage && !this.#trying ? undefined : this.#place(page, end, fromImage);
    if (attempt !== undefined) {
      if (attempt === Attempt.DONE && !this.#placer.wasPresent) {
        this.#state.add(LazyCounter.URGENT_PAGES, this.#placer.pages);
      }
      return attempt;
    }
    return this.#answerLost(page);
  }

  /** @returns undefined when who waits is held */
  #answerLost(page: number): Attempt | undefined {
    const marked = this.#loss.answer(page, this.#placer);
    if (marked === Attempt.DONE) this.#state.add(LazyCounter.POISONED, 1);
    return marked;
  }

  /**
   * Places what goes by one ioctl.
   *
   * @param fromImage whether any of it is the image's, and so may be lost
   * @returns undefined when it cannot be had
   */
  #place(page: number, end: number, fromImage: boolean): Attempt | undefined {
    try {
      if (fromImage && !this.#checked) {
        this.#memory.check();
        this.#checked = true;
      }
      const attempt = this.#placer.place(page, end);
      if (attempt === Attempt.DONE) this.#placed.fill(page, this.#placer.pages);
      if (attempt === Attempt.DONE && fromImage && this.#arriving === undefined) this.#loss.end();
      return attempt;
    } catch (error) {
      this.#loss.begin(this.#memory.reasonOf(error), monotonicNanoseconds());
      this.#trying = false;
      return undefined;
    }
  }

  /** Whether a page that somebody waits for can be read now; if not, it is on its way. */
  #atHand(index: number, page: number, end: number): boolean {
    const offset = this.#map.offsetOf(page);
    const length = (end - page) * BASE_PAGE;
    if (this.#stored.has(offset, length)) return true;
    const now = monotonicNanoseconds();
    const since = this.#pending.since(index);
    if (since === 0) {
      this.#pending.setSince(index, now);
      this.#stored.request(offset, length);
    } else if (now - since > this.#stored.patience) {
      return true; // it never looks as if it were there: reading it shows what is wrong
    }
    this.#wait(this.#stored.interval);
    return false;
  }

  /** Everything is refused until the thread that changes the map has gone on. */
  #parkAll(): void {
    this.#refused = true;
    this.#state.add(LazyCounter.PARKED, 1);
    const nanoseconds = this.#parking.refused();
    if (nanoseconds === 0) this.#poll.again();
    else this.#wait(nanoseconds);
  }

  /** Places a batch that nobody has asked for, if it is this session's turn. */
  #fill(): void {
    const arrivals = this.#arriving?.complete === false ? this.#arrivals : undefined;
    const first = this.#planned?.next() ?? -1;
    const page = first >= 0 ? first : (arrivals ?? this.#walk).next();
    if (page < 0) {
      this.#turns.leave(this.#poll);
      if (arrivals !== undefined) return; // more comes
      this.#filled = true;
      return this.#tell({ kind: "filled" });
    }
    if (!this.#turns.has(this.#poll)) return this.#turns.join(this.#poll);
    this.#turns.leave(this.#poll);
    const last = this.#walk.endOf(page);
    const end = (first >= 0 ? this.#planned : arrivals)?.endOf(page, last) ?? last;
    const length = (end - page) * BASE_PAGE;
    if (!this.#stored.has(this.#map.offsetOf(page), length) && !this.#waitedForDisk(page)) return;
    const attempt = this.#place(page, end, true);
    if (attempt === undefined) return;
    if (attempt === Attempt.GONE) return void (this.#gone = true);
    if (attempt === Attempt.LATER) return this.#parkAll();
    this.#parking.refresh();
    // Unmapped pages count as placed: nobody can touch them.
    if (attempt === Attempt.UNMAPPED) this.#placed.fill(page, this.#placer.pages);
    else if (!this.#placer.wasPresent) {
      this.#state.add(LazyCounter.BACKGROUND_PAGES, this.#placer.pages);
    }
    this.#walk.goTo(page + this.#placer.pages);
    this.#turns.join(this.#poll);
  }

  /** Has the disk read on; true when that has taken so long that the page is read as it is. */
  #waitedForDisk(page: number): boolean {
    const now = monotonicNanoseconds();
    if (this.#diskPage !== page) {
      this.#diskPage = page;
      this.#diskSince = now;
      const end = Math.min(page + AHEAD_PAGES, this.#map.endOf(this.#map.regionOf(page)));
      this.#stored.request(this.#map.offsetOf(page), (end - page) * BASE_PAGE);
    }
    this.#wait(this.#stored.interval);
    return now - this.#diskSince > this.#stored.patience;
  }
}
