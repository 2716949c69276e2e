/** Faults at the destination: from the userfaultfd to a request, from the preempt channel to the page. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { BlockMap } from "../placing/block_map.ts";
import { ChannelPages } from "../placing/channel_pages.ts";
import { unregisterBlocks } from "../placing/destination_memory.ts";
import { DestinationState } from "../placing/destination_state.ts";
import { FaultIntake } from "./fault_intake.ts";
import type { ListeningBlocks } from "../placing/guest_memory_store.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { type IncomingConnections, PreemptDoor } from "../connecting/preempt_door.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { type PreemptPages, PreemptRecords } from "../incoming/preempt_records.ts";
import { landedRing, ReturnPathMessage, returnPathRing } from "../return_path/return_path_ring.ts";
import { ReturnPathWriter } from "../return_path/return_path_writer.ts";
import { WaitingThreads } from "./waiting_threads.ts";

/** What a fault server is made from; structured-cloned into its thread. */
export interface FaultServerInit {
  /** Where the blocks lie, and their bitmaps. */
  readonly blocks: ListeningBlocks;
  /** The userfaultfd. */
  readonly uffd: number;
  /** The main channel, whose other direction is the return path. */
  readonly main: ConnectionInit;
  /** Ends its waits. */
  readonly wakeFd: number;
  /** Shared memory of the {@linkcode DestinationState}. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of the ring of PONGs from the main channel's task. */
  readonly answers: SharedArrayBuffer;
  /** Shared memory of the ring of PONGs and SHUT from the control plane. */
  readonly controlAnswers: SharedArrayBuffer;
  /** Shared memory of the ring of requested pages that came on the main channel. */
  readonly landed: SharedArrayBuffer;
  /** Connections of which one may be the preempt channel. */
  readonly incoming: IncomingConnections;
  /** Microseconds to look again and again before sleeping, while a page is awaited. */
  readonly spin: number;
}

/** What the fault server tells the control plane. */
export type FaultMessage =
  /** The socket has taken so many answers of the control plane. */
  | { readonly kind: "answered"; readonly count: number }
  | { readonly kind: "completed" }
  | { readonly kind: "paused"; readonly code: string; readonly reason: string };

/**
 * Bytes of a receipt from the preempt channel, beside what is left of a page: what one session of a
 * thread takes before the others have their turn.
 */
const RECEIVE_BYTES = 64 * 1024;
/** Index of the ring of its answers. */
const CONTROL_PLANE = 1;

// Slots of the poll.
const UFFD = 0;
const PREEMPT = 1;
const WAKE = 2;
const RETURN_PATH = 3;
const DOOR = 4;

/**
 * Serves the faults of one destination, beside those of others on a thread: from the fault to the page in
 * place it stays on that one thread, for every hand-over between threads would cost a wake-up (7 us hot,
 * 70 us on an idle core). Owns the return path from LISTEN on.
 *
 * When the source goes away it holds: no fault is answered any more, and no thread that waits is let go.
 */
export class FaultServer implements PreemptPages, Task {
  readonly #init: FaultServerInit;
  readonly #tell: Tell<FaultMessage>;
  readonly #poll: TaskPoll;
  readonly #state: DestinationState;
  readonly #map: BlockMap;
  readonly #returnPath: ReturnPathWriter;
  readonly #received: PageBitmap;
  readonly #requested: PageBitmap;
  readonly #intake: FaultIntake;
  readonly #waiting: WaitingThreads;
  readonly #pages: ChannelPages;
  readonly #buffer: ReceiveBuffer;
  readonly #door: PreemptDoor;
  #preempt: PreemptRecords | undefined;
  #preemptOpen = false;
  /** From the main channel's task and from the control plane: a ring has one producer. */
  readonly #answers: readonly Ring[];
  readonly #landed: Ring;
  #answered = 0;
  #told = 0;
  /** Where the look for a page that is awaited found one. */
  #awaited = 0;
  #ended = false;
  #holding = false;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   * @param poll what it waits on
   */
  constructor(init: FaultServerInit, tell: Tell<FaultMessage>, poll: TaskPoll) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    this.#state = new DestinationState(init.state);
    this.#map = new BlockMap(init.blocks.mapped);
    const returnPath = new SendingEnd(init.main, FROM_SOURCE.RETURN_PATH);
    this.#returnPath = new ReturnPathWriter(returnPath, this.#map.layout);
    const { pageLimit, targetPageSize } = this.#map.layout;
    this.#buffer = new ReceiveBuffer(RECEIVE_BYTES + targetPageSize);
    this.#received = new PageBitmap(pageLimit, init.blocks.received);
    this.#requested = new PageBitmap(pageLimit, init.blocks.requested);
    const bitmaps = {
      received: this.#received,
      claimed: new PageBitmap(pageLimit, init.blocks.claimed),
      requested: this.#requested,
    };
    this.#waiting = new WaitingThreads(this.#state);
    this.#intake = new FaultIntake(
      init.uffd,
      this.#map,
      this.#state,
      bitmaps,
      this.#waiting,
      this.#returnPath,
    );
    this.#pages = new ChannelPages(
      this.#map,
      this.#state,
      init.uffd,
      bitmaps,
      "preempt",
      (page, now) => this.#waiting.placed(page, now),
      this.#buffer,
    );
    this.#pages.listen();
    this.#answers = [returnPathRing(init.answers), returnPathRing(init.controlAnswers)];
    this.#landed = landedRing(init.landed);
    poll.watch(UFFD, init.uffd, PollEvents.IN);
    poll.watch(WAKE, init.wakeFd, PollEvents.IN);
    this.#door = new PreemptDoor(poll, DOOR, init.incoming);
  }

  /** Done when every page is in place and the source was told so, or when it is told to stop. */
  step(): boolean {
    if (this.#holding) return this.#hold();
    try {
      if (this.#ended ? this.#sayOn() : this.#serve()) return false;
      // What the control plane said last, for example that loading failed, still goes out.
      if (this.#state.stopped) this.#answer();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#pause((error as { code?: string }).code ?? "UNKNOWN", error.message);
    }
    this.#door.refuse();
    if (this.#state.stopped || this.#ended) return true;
    this.#beginToHold();
    return false;
  }

  select(name: string): void {
    this.#pages.select(name);
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#pages.page(offset, bytes, at);
    this.#pages.flush(); // somebody waits for it
  }

  zeroPage(offset: number): void {
    this.#pages.zeroPage(offset);
    this.#pages.flush();
  }

  /** Frees its buffer and closes the preempt channel. */
  [Symbol.dispose](): void {
    this.#buffer.close();
    this.#door.close();
  }

  /** Returns false when nothing is served any more. */
  #serve(): boolean {
    const poll = this.#poll;
    // Pages before new faults: somebody has waited longer for them.
    if (poll.ready(PREEMPT) !== 0) this.#receivePages(this.#preempt!);
    this.#lookForPreempt();
    if (poll.ready(UFFD) !== 0) this.#readFaults();
    if (poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    this.#takeLanded();
    if (this.#state.stopped || this.#state.paused) return false;
    this.#answer();
    const preempt = this.#openPreempt();
    if (this.#complete()) return this.#sayOn();
    poll.watch(PREEMPT, preempt === undefined || preempt.ended ? -1 : preempt.fd, PollEvents.IN);
    // The main channel is read by a task of its own; here only for room on the return path,
    // and for a source that leaves although a preempt channel never showed itself.
    const events = (this.#returnPath.pending ? PollEvents.OUT : 0) |
      (this.#orphaned() ? PollEvents.RDHUP : 0);
    poll.watch(RETURN_PATH, events === 0 ? -1 : this.#returnPath.fd, events);
    const { spin } = this.#init;
    if (spin > 0) poll.spinUntil(monotonicNanoseconds() + spin * 1000);
    return true;
  }

  #readFaults(): void {
    this.#intake.take();
    if (!this.#state.paused) this.#returnPath.flush();
  }

  #lookForPreempt(): void {
    const connection = this.#door.look();
    if (connection === undefined) return;
    const { targetPageSize } = this.#map.layout;
    this.#preempt = new PreemptRecords(connection, this.#buffer, this, targetPageSize);
  }

  /**
   * The preempt channel, once its pages can be placed: a source may send some before LISTEN was read on
   * the main channel, when the memory is not registered yet.
   */
  #openPreempt(): PreemptRecords | undefined {
    if (this.#preempt === undefined || !this.#state.listening) return undefined;
    if (!this.#preemptOpen) {
      this.#preemptOpen = true;
      this.#receivePages(this.#preempt); // what came while it was found out who it is
    }
    return this.#preempt;
  }

  #receivePages(preempt: PreemptRecords): void {
    const count = preempt.receive();
    if (count > 0) {
      this.#state.addPreemptBytes(count);
      preempt.decode();
      return;
    }
    if (!preempt.disconnected) return;
    // A source that has sent everything may close this channel first.
    if (!preempt.closedWhole || !this.#state.mainEnded) throw preempt.lost();
  }

  /** Requested pages that the main channel's task has placed. */
  #takeLanded(): void {
    if (this.#landed.empty) return;
    const now = monotonicNanoseconds();
    while (!this.#landed.empty) {
      this.#waiting.placed(this.#landed.peek(), now);
      this.#landed.drop();
    }
  }

  /** Passes on what the other threads answer. */
  #answer(): void {
    for (const ring of this.#answers) {
      while (!ring.empty) {
        this.#returnPath.answer(ring.peek(0), ring.peek(1));
        ring.drop();
        if (ring === this.#answers[CONTROL_PLANE]) this.#answered++;
      }
    }
    this.#returnPath.flush();
    if (this.#returnPath.pending || this.#told === this.#answered) return;
    this.#told = this.#answered;
    this.#tell({ kind: "answered", count: this.#answered });
  }

  /** True when pages are missing after the main channel's end, and nobody came to bring them. */
  #orphaned(): boolean {
    const state = this.#state;
    return state.listening && state.mainEnded && this.#preempt === undefined &&
      state.received < this.#map.layout.pageCount;
  }

  /** True when every page is in place and the source knows it. */
  #complete(): boolean {
    // A stream that ends without LISTEN has brought all that it will, and nobody asks for more.
    if (!this.#state.listening || !this.#state.mainEnded) return false;
    const { pageCount } = this.#map.layout;
    if (this.#state.received < pageCount) {
      if (!this.#awaitsPages()) {
        throw new MigrationError(
          "PAGES_MISSING",
          `Source ended without sending all pages, ${pageCount - this.#state.received} are missing`,
        );
      }
      return false;
    }
    // A guest that cannot be started is not moved, though its memory is: that SHUT would say 1.
    if (!this.#state.guestRuns) return false;
    this.#takeLanded(); // the last may have come since the last look
    this.#returnPath.answer(ReturnPathMessage.SHUT, 0);
    this.#ended = true;
    // Nothing is missing any more: from here on the memory is like any other, to be tracked by another
    // userfaultfd when the guest moves on, and to be mapped elsewhere.
    unregisterBlocks(this.#init.uffd, this.#init.blocks.mapped);
    try {
      this.#returnPath.flush();
    } catch {
      this.#returnPath.clear(); // a source that left without waiting for the word; nothing is missing here
    }
    this.#tell({ kind: "completed" });
    this.#poll.watch(UFFD, -1, 0);
    this.#poll.watch(PREEMPT, -1, 0);
    this.#poll.watch(RETURN_PATH, this.#returnPath.fd, PollEvents.OUT);
    return true;
  }

  /** Returns true while the source has not taken the last word. */
  #sayOn(): boolean {
    if (this.#poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    this.#lookForPreempt(); // whoever knocks would knock without end
    this.#returnPath.flush();
    return this.#returnPath.pending && !this.#state.stopped;
  }

  /** True while a page that was asked for may still be on its way on the preempt channel. */
  #awaitsPages(): boolean {
    if (this.#preempt?.ended) return false;
    if (this.#preempt === undefined) {
      const left = (this.#poll.ready(RETURN_PATH) & (PollEvents.RDHUP | PollEvents.HUP)) !== 0;
      if (left || !this.#door.undecided) return false;
    }
    // From where it found one the last time: those before have come, for the most part.
    const from = this.#awaited;
    return this.#findAwaited(from, this.#map.layout.pageLimit) || this.#findAwaited(0, from);
  }

  #findAwaited(start: number, end: number): boolean {
    for (let page = this.#requested.next(start, end); page >= 0;) {
      if (!this.#received.has(page)) {
        this.#awaited = page;
        return true;
      }
      page = this.#requested.next(page + 1, end);
    }
    return false;
  }

  #pause(code: string, reason: string): void {
    if (!this.#state.paused) {
      this.#state.pause();
      this.#tell({ kind: "paused", code, reason });
    }
  }

  /**
   * Keeps threads that wait for a missing page waiting: nothing is asked for, nothing placed. In
   * shared memory a page that is here may still have to be mapped again.
   */
  #beginToHold(): void {
    this.#holding = true;
    this.#poll.watch(UFFD, this.#map.hasMinorFaults ? this.#init.uffd : -1, PollEvents.IN);
    this.#poll.watch(PREEMPT, -1, 0);
    this.#poll.watch(RETURN_PATH, -1, 0);
  }

  /** Returns true when it is told to stop. */
  #hold(): boolean {
    const poll = this.#poll;
    this.#door.look();
    if (poll.ready(UFFD) !== 0) this.#readFaults();
    if (poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    return this.#state.stopped;
  }
}
