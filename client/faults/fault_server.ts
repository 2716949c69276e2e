/** Faults at the destination: from the userfaultfd to a request, from the preempt channel to the page. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { clearEvent, signalEvent } from "../../ffi/eventfd.ts";
import { PagePlacer } from "../../ffi/page_placer.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { BlockMap } from "../placing/block_map.ts";
import { unregisterBlocks } from "../placing/destination_memory.ts";
import { DestinationState } from "../placing/destination_state.ts";
import { forgetBegun } from "../placing/huge_page_sink.ts";
import { AwaitedPages } from "./awaited_pages.ts";
import { FaultIntake } from "./fault_intake.ts";
import type { FaultMessage, FaultServerInit } from "./fault_messages.ts";
import { RecoveryAnswers } from "./recovery_answers.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { MainHandover } from "../connecting/main_handover.ts";
import { listenersRing } from "../connecting/listeners.ts";
import { PreemptDoor } from "../connecting/preempt_door.ts";
import { connectionLost, FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { PassedAnswers } from "../return_path/passed_answers.ts";
import { landedRing, ReturnPathMessage } from "../return_path/return_path_ring.ts";
import { ReturnPathWriter } from "../return_path/return_path_writer.ts";
import { UrgentPages } from "./urgent_pages.ts";
import { WaitingThreads } from "./waiting_threads.ts";

/** Bytes in which threads are woken with one call, which takes 32 bits of a length. */
const WOKEN_AT_ONCE = 2 ** 30;

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
 * When the source goes away it holds: no fault is answered, and no thread that waits is let go. A source
 * that comes again is found, answered, and asked for all that is waited for, by this task alone: the main
 * thread may itself be one that waits.
 */
export class FaultServer implements Task {
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
  readonly #urgent: UrgentPages;
  readonly #door: PreemptDoor;
  readonly #answers: PassedAnswers;
  readonly #landed: Ring;
  readonly #listeners: Ring;
  readonly #claimed: PageBitmap;
  readonly #awaited: AwaitedPages;
  readonly #handover: MainHandover;
  readonly #recovery: RecoveryAnswers;
  #ended = false;
  #holding = false;
  /** From a new main channel to its RESUME. */
  #recovering = false;

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
    const { pageLimit } = this.#map.layout;
    this.#received = new PageBitmap(pageLimit, init.blocks.received);
    this.#requested = new PageBitmap(pageLimit, init.blocks.requested);
    this.#claimed = new PageBitmap(pageLimit, init.blocks.claimed);
    const bitmaps = {
      received: this.#received,
      claimed: this.#claimed,
      requested: this.#requested,
    };
    this.#awaited = new AwaitedPages(this.#received, this.#requested);
    this.#handover = new MainHandover(init.handover);
    this.#recovery = new RecoveryAnswers(
      this.#handover,
      this.#map.layout,
      this.#received,
      this.#requested,
      this.#returnPath,
    );
    this.#waiting = new WaitingThreads(this.#state);
    this.#intake = new FaultIntake(
      init.uffd,
      this.#map,
      this.#state,
      bitmaps,
      this.#waiting,
      this.#returnPath,
      init.blocks.absent,
    );
    this.#urgent = new UrgentPages(
      this.#map,
      this.#state,
      init.uffd,
      bitmaps,
      (page, now) => this.#waiting.placed(page, now),
    );
    this.#answers = new PassedAnswers(init.answers, init.controlAnswers, this.#returnPath);
    this.#landed = landedRing(init.landed);
    this.#listeners = listenersRing(init.listeners);
    poll.watch(UFFD, init.uffd, PollEvents.IN);
    poll.watch(WAKE, init.wakeFd, PollEvents.IN);
    this.#door = new PreemptDoor(poll, DOOR, init.incoming);
    if (init.anew) this.#takeOver();
  }

  /** Done when every page is in place and the source was told so, or when it is told to stop. */
  step(): boolean {
    try {
      if (this.#holding) return this.#hold();
      if (this.#ended ? this.#sayOn() : this.#serve()) return false;
      // What the control plane said last, for example that loading failed, still goes out.
      if (this.#state.stopped) this.#answer();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#pause((error as { code?: string }).code ?? "UNKNOWN", error.message);
    }
    if (this.#state.stopped || this.#ended) {
      this.#door.refuse();
      return true;
    }
    this.#beginToHold();
    return false;
  }

  /** Frees its buffers and closes the preempt channel. */
  [Symbol.dispose](): void {
    this.#intake[Symbol.dispose]();
    this.#urgent[Symbol.dispose]();
    this.#door.close();
  }

  /** Takes over: faults that the dead thread had read and not answered are told of again. */
  #takeOver(): void {
    const placer = new PagePlacer(this.#init.uffd);
    for (const { address, length } of this.#init.blocks.mapped.blocks) {
      for (let at = 0; at < length; at += WOKEN_AT_ONCE) {
        placer.wake(address + at, Math.min(WOKEN_AT_ONCE, length - at));
      }
    }
    this.#beginToHold();
  }

  /** Returns false when nothing is served any more. */
  #serve(): boolean {
    const poll = this.#poll;
    // Pages before new faults: somebody has waited longer for them.
    if (poll.ready(PREEMPT) !== 0) this.#urgent.receive();
    this.#lookForPreempt();
    if (poll.ready(UFFD) !== 0) this.#readFaults();
    if (poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    this.#takeLanded();
    if (this.#state.stopped || this.#state.paused) return false;
    if (this.#recovering && this.#recovery.answer()) this.#resume();
    if (this.#recovery.asking) this.#state.addRequest(this.#recovery.ask());
    if (!this.#recovery.busy) this.#answer();
    this.#urgent.open();
    if (this.#complete()) return this.#sayOn();
    poll.watch(PREEMPT, this.#urgent.fd, PollEvents.IN);
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

  /** Looks who has come: the preempt channel, or a source that has noticed a break before it is known here. */
  #lookForPreempt(): void {
    if (this.#state.over) return this.#door.leave();
    this.#listenElsewhere();
    this.#door.resumable = this.#state.resumable;
    const connection = this.#door.look();
    if (connection !== undefined) this.#urgent.attach(connection);
    if (this.#door.knocks) throw connectionLost(FROM_SOURCE.MAIN, "it has connected anew");
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
    const count = this.#answers.pass();
    if (count >= 0) this.#tell({ kind: "answered", count });
  }

  /** True when pages are missing after the main channel's end, and nobody came to bring them. */
  #orphaned(): boolean {
    const state = this.#state;
    return state.listening && state.mainEnded && !this.#urgent.attached &&
      state.missingOf(this.#map.layout.pageCount) > 0;
  }

  /** True when every page is in place and the source knows it. */
  #complete(): boolean {
    // A stream that ends without LISTEN has brought all that it will, and nobody asks for more.
    if (!this.#state.listening || !this.#state.mainEnded) return false;
    const missing = this.#state.missingOf(this.#map.layout.pageCount);
    if (missing > 0) {
      if (!this.#awaitsPages()) {
        throw new MigrationError(
          "PAGES_MISSING",
          `Source ended without sending all pages, ${missing} are missing`,
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
    this.#state.setOver();
    signalEvent(this.#init.mainWakeFd);
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
    if (this.#urgent.ended) return false;
    if (!this.#urgent.attached) {
      const left = (this.#poll.ready(RETURN_PATH) & (PollEvents.RDHUP | PollEvents.HUP)) !== 0;
      if (left || !this.#door.undecided) return false;
    }
    return this.#awaited.any;
  }

  #pause(code: string, reason: string): void {
    // What fails while it holds is news, whatever it was paused for.
    const breaks = this.#holding ? this.#state.breakAgain() : this.#state.pause();
    if (breaks > 0) this.#tell({ kind: "paused", breaks, code, reason });
  }

  /**
   * Keeps threads that wait for a missing page waiting: nothing is asked for, nothing placed. In
   * shared memory a page that is here may still have to be mapped again, and one that the source does not
   * hold is made at any time. Both connections end, for a source may have noticed nothing, or the end of one alone.
   */
  #beginToHold(): void {
    if (!this.#holding) this.#poll.again(); // whoever comes again may be here already
    this.#holding = true;
    this.#recovering = false;
    this.#intake.asking = false;
    this.#watchHeldFaults();
    this.#poll.watch(PREEMPT, -1, 0);
    this.#poll.watch(RETURN_PATH, -1, 0);
    this.#returnPath.hangUp();
    const preempt = this.#urgent.detach();
    if (preempt >= 0) this.#door.end(preempt);
    this.#recovery.clear();
    this.#door.hold();
    signalEvent(this.#init.mainWakeFd); // it lets go of the main channel
  }

  /** A userfaultfd that cannot be read would be found ready again and again. */
  #watchHeldFaults(): void {
    const answers = !this.#intake.unreadable &&
      (this.#map.hasMinorFaults || this.#state.absent > 0);
    this.#poll.watch(UFFD, answers ? this.#init.uffd : -1, PollEvents.IN);
  }

  /** Returns true when it is told to stop. */
  #hold(): boolean {
    const poll = this.#poll;
    if (this.#state.over) this.#door.leave();
    this.#listenElsewhere();
    this.#door.resumable = this.#state.resumable;
    this.#door.look(); // finds no preempt channel before a source has resumed
    if (poll.ready(UFFD) !== 0) this.#readFaults();
    if (poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    this.#takeLanded();
    if (this.#state.stopped) {
      this.#door.refuse();
      return true;
    }
    if (this.#handover.released && this.#door.knocks) this.#recover();
    return false;
  }

  /** A source is there again: it wants to know what is here before it goes on. */
  #recover(): void {
    if (this.#state.taskLost && this.#halfPlaced()) return this.#giveUp();
    const main = this.#door.takeRecovery()!;
    this.#door.give(main.fd);
    // Nobody places a page now: whatever was begun and not finished comes again.
    this.#claimed.copyFrom(this.#received);
    this.#answers.drop();
    this.#returnPath.replace(main);
    this.#holding = false;
    this.#recovering = true;
    const { breaks } = this.#state;
    this.#state.recover();
    this.#handover.give(main);
    signalEvent(this.#init.mainWakeFd);
    this.#tell({ kind: "recovering", breaks, main });
  }

  /**
   * True when a task has ended while it placed a page where a part of it can be seen, or what the guest
   * wrote since be overwritten: in the page cache, or of huge pages. Private memory gets a page whole or not
   * at all. Nobody places one now.
   */
  #halfPlaced(): boolean {
    if (!this.#map.hasMinorFaults) return false;
    forgetBegun(this.#map.layout, this.#claimed);
    return this.#claimed.count() !== this.#received.count();
  }

  /** No source can resume it: threads that wait for a page are held until the process ends. */
  #giveUp(): void {
    this.#state.setOver();
    this.#door.resumable = false;
    const reason =
      "A thread of this program failed in the midst of placing a page, of which nobody " +
      "knows what it holds: the migration cannot be resumed";
    this.#tell({
      kind: "paused",
      breaks: this.#state.breakAgain(),
      code: "THREAD_DIED",
      reason,
    });
  }

  /** The source goes on: from here on it is asked for what is missed. */
  #resume(): void {
    this.#recovering = false;
    this.#intake.unreadable = false;
    this.#intake.asking = true;
    this.#poll.watch(UFFD, this.#init.uffd, PollEvents.IN);
    this.#door.resume();
    this.#poll.again(); // its preempt channel may have spoken
    this.#tell({ kind: "recovered", breaks: this.#state.breaks });
  }

  /** Takes the places where the control plane listens since. */
  #listenElsewhere(): void {
    for (; !this.#listeners.empty; this.#listeners.drop()) {
      this.#door.listenAlso(this.#listeners.peek());
    }
  }
}
