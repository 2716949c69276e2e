/** The return path: hears the destination and sends each requested page at once. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { clearEvent, signalEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { LARGEST_HOST_PAGE } from "../../migration/memory/page_sizes.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { ReturnPathHandler } from "../../migration/protocol/return_path.ts";
import { ReturnPathDecoder } from "../../migration/protocol/return_path_decoder.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { inputBytes } from "../../channel/open_connection.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { PING } from "./control_stream.ts";
import { MigrationError, type MigrationErrorCode } from "../../migration/migration_error.ts";
import type { PageLocator } from "../../pages/page_locator.ts";
import { RequestNotes } from "../order/request_notes.ts";
import { AnsweredRequests } from "./answered_requests.ts";
import { ForwardedRequests } from "./forwarded_requests.ts";
import { BackgroundRequests, type RequestedPages } from "./requested_pages.ts";
import { RequestQueue } from "./request_queue.ts";
import { RecoveryAnswers, type RecoveryMessage } from "./recovery_answers.ts";
import type { SenderInit } from "./sender_init.ts";
import { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";

/** What a request server is made from. */
export interface RequestServerInit extends SenderInit {
  /** Ends the background sender's waits when a flag of the state changes. */
  readonly backgroundWakeFd: number;
  /** Microseconds to look again and again after a request before sleeping. */
  readonly spin: number;
  /** Whether a guest goes on here unless the destination says that it is loaded there. */
  readonly decides: boolean;
  /** Whether a paused migration goes on: the destination first says what it has. */
  readonly recovers: boolean;
}

/** What the request server tells the control plane. */
export type ReturnPathMessage =
  | {
    readonly kind: "pong";
    /** Of the PING that the destination answers. */
    readonly value: number;
  }
  /** What the destination understands beyond QEMU's protocol. */
  | { readonly kind: "extensions"; readonly names: readonly string[] }
  /** The guest may be handed over. */
  | { readonly kind: "approved" }
  | RecoveryMessage;

/** Slots of the poll. */
const Slot = { RETURN_PATH: 0, WAKE: 1, ROOM: 2 } as const;
/** Bytes of the shortest request. */
const REQUEST_BYTES = 16;
/**
 * Bytes that a step receives: more than the longest message (516), and no more requests, 40, than others
 * can wait for. Through TLS a record comes whole: another 1024, looked at in 0.1 ms, and sent in their turns.
 */
const RECEIVE_BYTES = 40 * REQUEST_BYTES;
/** The PINGs that are sent. */
const PINGS: readonly number[] = Object.values(PING);
/** Most milliseconds for a destination that was hung up on to say what became of the guest. */
const LAST_WORD = 5_000;
/** Nanoseconds from there on in which one that has loaded the guest says so if it will not run it. */
const AFTERWORD = 500e6;

/**
 * Reads the return path of one migration. In the mode preempt-full it claims each requested page and
 * sends it itself on the preempt channel: no lock, no rate limit and no other thread between the request
 * and the page.
 *
 * It serves until the destination says SHUT or the control plane says stop. A step fails with a
 * {@linkcode MigrationError} when the destination is gone, failed or asks for what is not there, and with
 * a `ProtocolError` when it sends what is no message.
 */
export class RequestServer implements ReturnPathHandler, Task {
  readonly #init: RequestServerInit;
  readonly #tell: Tell<ReturnPathMessage>;
  readonly #poll: TaskPoll;
  readonly #state: SourceState;
  readonly #layout: RamLayout;
  readonly #requested: RequestedPages;
  readonly #locator: PageLocator;
  readonly #decoder: ReturnPathDecoder;
  readonly #returnPath: ReceivingEnd;
  readonly #main: SendingEnd;
  readonly #recovery: RecoveryAnswers;
  readonly #notes: RequestNotes;
  /** When the step that is made began, and the time that all steps took; nanoseconds. */
  #now = 0;
  #used: number;
  #receivedAt = 0;
  #shut = false;
  #pongs = 0;
  #approved = false;
  /** What it fails with: the first reason, said when all that came was looked at. */
  #failure: { readonly error: unknown } | undefined;
  #endSent = false;
  #confirmBy = Infinity;
  #unacknowledgedBefore = Infinity;
  #hungUp = false;
  #hungUpAt = 0;
  #hearUntil = 0;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   * @param poll the task's
   */
  constructor(init: RequestServerInit, tell: Tell<ReturnPathMessage>, poll: TaskPoll) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    const views = new SenderViews(init);
    const { state, layout, dirty } = views;
    this.#state = state;
    this.#layout = layout;
    this.#locator = views.locator;
    const capacity = inputBytes(init.main, RECEIVE_BYTES);
    const queue = new RequestQueue(capacity / REQUEST_BYTES);
    const background = new BackgroundRequests(views.requests, init.requestFd, layout);
    this.#requested = init.mode === "preempt-full"
      ? new AnsweredRequests(queue, init, views, background, poll, Slot.ROOM)
      : new ForwardedRequests(queue, poll, state, layout, dirty, background);
    this.#notes = new RequestNotes(layout, init.order);
    this.#used = state.cpuTime("return-path");
    this.#recovery = new RecoveryAnswers(layout, dirty, init.recovers, tell);
    this.#decoder = new ReturnPathDecoder(this);
    const input = { bytes: new Uint8Array(capacity), capacity };
    // Acknowledged at once: a peer without TCP_NODELAY (stock QEMU) holds back its next request till then.
    const options = { acknowledge: true };
    this.#returnPath = new ReceivingEnd(init.main, TO_DESTINATION.RETURN_PATH, input, options);
    this.#main = new SendingEnd(init.main, TO_DESTINATION.MAIN);
    this.#listen(true);
    poll.watch(Slot.WAKE, init.wakeFd, PollEvents.IN);
  }

  /** Implements {@linkcode Task}. */
  step(): boolean {
    this.#now = monotonicNanoseconds();
    const done = this.#hungUp ? this.#hearOut() : this.#serveOrHangUp();
    // Steps never wait, so the time that they take is nearly their processor time, at a quarter of the cost
    // of asking for that: the thread's own figure would be of all migrations that it serves.
    this.#used += monotonicNanoseconds() - this.#now;
    this.#state.setCpuTime("return-path", this.#used);
    if (done && this.#failure !== undefined) throw this.#failure.error;
    return done;
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  requestPages(block: string, start: number, length: number): void {
    if (this.#hungUp || this.#failure !== undefined) return;
    const known = this.#layout.find(block);
    const pageBytes = this.#layout.targetPageSize;
    const pages = length / pageBytes;
    if (
      known === undefined || start % known.pageSize !== 0 || length % known.pageSize !== 0 ||
      length < 1 || length > LARGEST_HOST_PAGE || start + length > known.usedLength
    ) {
      const size = known?.pageSize ?? pageBytes;
      return this.#fail(
        "BAD_PEER",
        `Destination asked for pages that are not there: block ${block} with pages of ${size}, ` +
          `${length} bytes at ${start}`,
      );
    }
    if (!this.#state.switched || !this.#recovery.resumed) {
      return this.#fail(
        "BAD_PEER",
        "Destination asked for a page before the guest was handed over, or before it went on after a " +
          `pause: block ${block}, at ${start}`,
      );
    }
    const first = known.firstPage + start / pageBytes;
    this.#state.returnPath.addRequests(length / known.pageSize);
    this.#notes.note(first);
    // Nobody would send it: the destination ends as well, and what it has not got is zero.
    if (this.#init.mode === "vanilla" && this.#state.backgroundEnded) return;
    this.#requested.queue.add(first, first + pages);
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  pong(value: number): void {
    if (value === PING.LOADED) {
      if (!this.#state.switched) return; // answers what was not asked yet
      this.#state.setGuestLoaded();
      signalEvent(this.#init.backgroundWakeFd);
    }
    // Each PING is answered once. What else comes stays here: a flood of it would fill the owner's queue.
    const index = PINGS.indexOf(value);
    if (index < 0 || (this.#pongs & (1 << index)) !== 0) return;
    this.#pongs |= 1 << index;
    this.#tell({ kind: "pong", value });
  }

  /** Implements {@linkcode ReturnPathHandler}; said once, before the first PONG. */
  extensions(names: readonly string[]): void {
    if (this.#pongs !== 0) return;
    this.#state.setPeerOurs();
    this.#tell({ kind: "extensions", names });
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  shut(value: number): void {
    if (value !== 0) {
      this.#state.setPeerFailed();
      // It will not start the guest: had it, one that is asked again would say nothing.
      const asked = this.#init.recovers && !this.#recovery.resumed;
      // Nor will one that was hung up on: it had not seen yet that its word of the loaded guest was heard.
      if (asked || this.#hungUp || !this.#state.guestLoaded) this.#state.setPeerClosed();
      return this.#fail(
        "PEER_FAILED",
        `Destination reports a failure: SHUT ${value}: its own log says why`,
      );
    }
    // One that was paused may have had everything: only the word of that was lost.
    if (!this.#state.backgroundEnded && this.#recovery.resumed) {
      return this.#fail(
        "PEER_FAILED",
        "Destination ended the migration before all pages were sent",
      );
    }
    this.#state.setGuestLoaded();
    this.#state.setConfirmed();
    signalEvent(this.#init.backgroundWakeFd);
    this.#shut = true;
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  receivedBitmap(block: string, size: number): void {
    this.#recovery.begin(block, size);
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  receivedBitmapData(bytes: Uint8Array, at: number, length: number): void {
    this.#recovery.add(bytes, at, length);
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  receivedBitmapEnd(): void {
    this.#recovery.end();
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  resumeAck(value: number): void {
    this.#recovery.resume(value);
    this.#state.setGuestLoaded(); // nobody else is paused
  }

  /** Implements {@linkcode ReturnPathHandler}; another than the first stays here, as of the PONGs. */
  switchoverAck(): void {
    if (!this.#approved) this.#tell({ kind: "approved" });
    this.#approved = true;
  }

  /** Frees its buffers. */
  [Symbol.dispose](): void {
    this.#requested[Symbol.dispose]();
  }

  #serveOrHangUp(): boolean {
    let over = true;
    try {
      over = this.#serve();
    } catch (error) {
      this.#failure ??= { error: this.#locator.reasonOf(error) };
    }
    if (!over) return false;
    this.#state.endUrgent();
    const decided = this.#state.guestLoaded || this.#state.peerClosed;
    if (!this.#init.decides || !this.#state.switched || decided) return true;
    this.#hangUp();
    return this.#hearOut();
  }

  /** @returns whether it is over: the destination has confirmed the end, or the control plane says stop */
  #serve(): boolean {
    if (this.#poll.ready(Slot.WAKE) !== 0) clearEvent(this.#init.wakeFd);
    if (this.#state.stopped) return true;
    // What was asked for before comes first: nothing is read meanwhile.
    if (this.#requested.idle) this.#hear();
    if (!this.#workOff()) return false;
    if (this.#shut) return true;
    if (this.#state.backgroundEnded && !this.#endSent) {
      this.#endSent = true;
      this.#requested.end();
      if (!this.#workOff()) return false;
    }
    // A destination that has everything says SHUT; before that it may be silent for as long as it likes.
    if (this.#endSent) {
      const patience = this.#init.stallTimeout * 1e6;
      this.#confirmBy = this.#now + patience;
      this.#poll.sleep(patience);
    }
    return false;
  }

  /** Takes what has come. */
  #hear(): void {
    const late = this.#now >= this.#confirmBy && this.#poll.found === 0;
    this.#confirmBy = Infinity;
    if (this.#poll.ready(Slot.RETURN_PATH) === 0 && !late) return;
    if (this.#receive() || !late) return;
    // The end may lie behind much else in the socket: as long as that moves, nobody is stalled.
    const left = this.#main.unacknowledged;
    if (left === 0 || left >= this.#unacknowledgedBefore) {
      throw unconfirmed(this.#init.stallTimeout);
    }
    this.#unacknowledgedBefore = left;
  }

  /** @returns whether something has come */
  #receive(): boolean {
    const returnPath = this.#returnPath;
    const count = returnPath.receive();
    if (count === 0) {
      if (!returnPath.ended) return false;
      // One that is asked again may not know yet that it was left: only what it says counts.
      if (returnPath.left && !this.#init.recovers) this.#state.setPeerClosed();
      throw returnPath.lost();
    }
    this.#receivedAt = monotonicNanoseconds();
    this.#state.returnPath.addBytes(count);
    // Until all that is asked for here is sent, the background sender starts no new batch.
    if (!this.#hungUp) this.#state.beginUrgent();
    returnPath.decode(this.#decoder);
    if (this.#failure !== undefined) throw this.#failure.error;
    // While the next request is likely, the thread does not sleep: an idle core takes 70 us to wake.
    if (this.#init.spin > 0) this.#poll.spinUntil(this.#receivedAt + this.#init.spin * 1000);
    return true;
  }

  /** @returns whether all that was asked for is done */
  #workOff(): boolean {
    const progress = this.#requested.step(this.#now, this.#receivedAt);
    if (progress === "more") this.#poll.again();
    this.#listen(progress !== "waiting");
    if (progress !== "done") return false;
    this.#state.endUrgent();
    return true;
  }

  #listen(on: boolean): void {
    this.#poll.watch(Slot.RETURN_PATH, on ? this.#returnPath.fd : -1, PollEvents.IN);
  }

  /** Fails once what has come is decoded: what follows may tell where the guest runs. */
  #fail(code: MigrationErrorCode, message: string): void {
    if (!this.#hungUp) this.#failure ??= { error: new MigrationError(code, message) };
  }

  /** The migration fails while the destination may be starting the guest: it hears nothing more. */
  #hangUp(): void {
    this.#main.end();
    this.#hungUp = true;
    this.#hungUpAt = this.#now;
    this.#listen(true);
    this.#poll.watch(Slot.WAKE, -1, 0);
    this.#poll.watch(Slot.ROOM, -1, 0);
    this.#hearUntil = this.#now + Math.min(LAST_WORD, this.#init.stallTimeout) * 1e6;
  }

  /**
   * Reads what the destination had said, to its end. One that was not heard to have loaded the guest and
   * closes the connection has not started it and will not.
   *
   * @returns whether that is known, or is not said in time
   */
  #hearOut(): boolean {
    try {
      this.#receive();
    } catch {
      // Its failures are no news any more.
    }
    if (this.#returnPath.ended) return true;
    // It may say next that it does not run the guest after all, and closes in any case.
    if (this.#state.guestLoaded) {
      this.#hearUntil = Math.min(this.#hearUntil, this.#hungUpAt + AFTERWORD);
    }
    if (this.#now >= this.#hearUntil) return true;
    this.#poll.sleep(this.#hearUntil - this.#now);
    return false;
  }
}

function unconfirmed(milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not confirmed the end for ${milliseconds / 1000} s, all pages are sent: ` +
      "see whether it still runs",
  );
}
