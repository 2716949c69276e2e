/** The return path: hears the destination and sends each requested page at once. */

import { monotonicNanoseconds, threadCpuNanoseconds } from "../../ffi/clock.ts";
import { clearEvent, signalEvent } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { ReturnPathHandler } from "../../migration/protocol/return_path.ts";
import { ReturnPathDecoder } from "../../migration/protocol/return_path_decoder.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import { BlockingSender } from "../../channel/blocking_sender.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { HostPageClaims } from "./host_page_claims.ts";
import { PING } from "./control_stream.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { PageRecords } from "./page_records.ts";
import type { SenderInit } from "./sender_init.ts";
import { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";

/** What a request server is made from. */
export interface RequestServerInit extends SenderInit {
  /** Ends the background worker's waits when a flag of the state changes. */
  readonly backgroundWakeFd: number;
  /** Microseconds to look again and again after a request before sleeping. */
  readonly spin: number;
  /** Whether a guest goes on here unless the destination says that it is loaded there. */
  readonly decides: boolean;
}

/** What the request server tells the control plane. */
export type ReturnPathMessage =
  | {
    readonly kind: "pong";
    /** Of the PING that the destination answers. */
    readonly value: number;
  }
  /** What the destination understands beyond QEMU's protocol. */
  | { readonly kind: "extensions"; readonly names: readonly string[] };

/** Most target pages in one request: one host page, at most 1 GiB. */
const LARGEST_REQUEST_PAGES = 262_144;
const RECEIVE_BYTES = 65_536;
/** Receipts between two readings of the thread's clock, a system call that requests need not wait for. */
const CLOCK_INTERVAL = 64;
/** The PINGs that are sent. */
const PINGS: readonly number[] = Object.values(PING);
/** Most milliseconds for a destination that was hung up on to say what became of the guest. */
const LAST_WORD = 5_000;
/** Pages of one answer: a 2 MiB host page goes out in eight. */
const ANSWER_PAGES = 64;

/**
 * Reads the return path of one migration. In the mode preempt-full it claims each requested page and
 * sends it itself on the preempt channel: no queue, no lock, no rate limit between the request and
 * the page.
 */
export class RequestServer implements ReturnPathHandler, Disposable {
  readonly #init: RequestServerInit;
  readonly #tell: (message: ReturnPathMessage) => void;
  readonly #state: SourceState;
  readonly #dirty: PageBitmap;
  readonly #layout: RamLayout;
  readonly #requests: Ring;
  readonly #records: PageRecords;
  readonly #claims: HostPageClaims;
  readonly #decoder: ReturnPathDecoder;
  readonly #returnPath: ReceivingEnd;
  readonly #main: SendingEnd;
  readonly #poll = new PollSet(2);
  #preempt: BlockingSender | undefined;
  #hungUp = false;
  #receivedAt = 0;
  #receipts = 0;
  #shut = false;
  #pongs = 0;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   */
  constructor(init: RequestServerInit, tell: (message: ReturnPathMessage) => void) {
    this.#init = init;
    this.#tell = tell;
    const { state, layout, dirty, locator, requests } = new SenderViews(init);
    this.#state = state;
    this.#layout = layout;
    this.#dirty = dirty;
    this.#requests = requests;
    this.#records = new PageRecords(layout, locator, ANSWER_PAGES);
    this.#claims = new HostPageClaims(this.#layout, this.#dirty);
    this.#decoder = new ReturnPathDecoder(this);
    const input = { bytes: new Uint8Array(RECEIVE_BYTES), capacity: RECEIVE_BYTES };
    // Acknowledged at once: a peer without TCP_NODELAY (stock QEMU) holds back its next request till then.
    const options = { acknowledge: true };
    this.#returnPath = new ReceivingEnd(init.main, TO_DESTINATION.RETURN_PATH, input, options);
    this.#main = new SendingEnd(init.main, TO_DESTINATION.MAIN);
    this.#poll.watch(0, this.#returnPath.fd, PollEvents.IN);
    this.#poll.watch(1, init.wakeFd, PollEvents.IN);
  }

  /**
   * Serves until the destination says SHUT or the control plane says stop.
   *
   * @throws {MigrationError} when the destination is gone, failed or asks for what is not there
   * @throws {ProtocolError} when it sends what is no message
   */
  serve(): void {
    try {
      this.#serve();
    } finally {
      this.#noteCpuTime();
      const decided = this.#state.guestLoaded || this.#state.peerClosed;
      if (this.#init.decides && this.#state.switched && !decided) this.#hearOut();
    }
  }

  #serve(): void {
    let endSent = false;
    let unacknowledgedBefore = Infinity;
    while (!this.#state.stopped && !this.#shut) {
      if (this.#state.backgroundEnded && !endSent) {
        endSent = true;
        if (!this.#endPreempt()) return;
      }
      // A destination that has everything says SHUT; before that it may be silent for as long as it likes.
      const ready = this.#spin() || this.#poll.wait(endSent ? this.#init.stallTimeout : -1);
      if (ready === 0 && endSent) {
        // The end may lie behind much else in the socket: as long as that moves, nobody is stalled.
        const left = this.#main.unacknowledged;
        if (left === 0 || left >= unacknowledgedBefore) throw unconfirmed(this.#init.stallTimeout);
        unacknowledgedBefore = left;
      }
      if (this.#poll.ready(1) !== 0) clearEvent(this.#init.wakeFd);
      if (this.#poll.ready(0) !== 0) this.#receive();
    }
  }

  /**
   * The migration fails while the destination may be starting the guest: hangs up, and reads what the
   * destination had said, to its end. One that was not heard to have loaded the guest and closes the
   * connection has not started it and will not.
   */
  #hearOut(): void {
    this.#main.end();
    this.#hungUp = true;
    const only = new PollSet(1);
    only.watch(0, this.#returnPath.fd, PollEvents.IN);
    const patience = Math.min(LAST_WORD, this.#init.stallTimeout);
    const end = monotonicNanoseconds() + patience * 1e6;
    while (!this.#state.guestLoaded && !this.#state.peerClosed) {
      const left = Math.ceil((end - monotonicNanoseconds()) / 1e6);
      if (left <= 0 || only.wait(left) === 0) return;
      try {
        this.#receive();
      } catch {
        // Its failures are no news any more.
      }
    }
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  requestPages(block: string, start: number, length: number): void {
    if (this.#hungUp) return;
    const known = this.#layout.find(block);
    const pageBytes = this.#layout.targetPageSize;
    const pages = length / pageBytes;
    if (
      known === undefined || start % known.pageSize !== 0 || length % known.pageSize !== 0 ||
      length < 1 || pages > LARGEST_REQUEST_PAGES || start + length > known.usedLength
    ) {
      const size = known?.pageSize ?? pageBytes;
      throw new MigrationError(
        "BAD_PEER",
        `Destination asked for pages that are not there: block ${block} with pages of ${size}, ` +
          `${length} bytes at ${start}`,
      );
    }
    if (!this.#state.switched) {
      throw new MigrationError(
        "BAD_PEER",
        `Destination asked for a page before the guest was handed over: block ${block}, at ${start}`,
      );
    }
    const first = known.firstPage + start / pageBytes;
    this.#state.returnPath.addRequests(length / known.pageSize);
    if (this.#init.mode === "preempt-full") this.#answer(first, pages);
    else this.#enqueue(first, pages, known.pagesPerHostPage);
    this.#state.setLocality(first + pages - 1);
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
    if (this.#pongs === 0) this.#tell({ kind: "extensions", names });
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  shut(value: number): void {
    if (value !== 0) {
      if (!this.#state.guestLoaded) this.#state.setPeerClosed(); // and will not start the guest
      throw new MigrationError(
        "PEER_FAILED",
        `Destination reports a failure: SHUT ${value}: its own log says why`,
      );
    }
    if (!this.#state.backgroundEnded) {
      throw new MigrationError(
        "PEER_FAILED",
        "Destination ended the migration before all pages were sent",
      );
    }
    this.#state.setGuestLoaded();
    this.#shut = true;
  }

  /** Implements {@linkcode ReturnPathHandler}. */
  receivedBitmap(block: string, _size: number): void {
    throw new MigrationError(
      "BAD_PEER",
      `Destination sent a receive bitmap that nobody asked for: block ${block}`,
    );
  }

  /** Implements {@linkcode ReturnPathHandler}; never reached: `receivedBitmap` throws. */
  receivedBitmapData(_bytes: Uint8Array, _at: number, _length: number): void {}

  /** Implements {@linkcode ReturnPathHandler}; never reached: `receivedBitmap` throws. */
  receivedBitmapEnd(): void {}

  /** Implements {@linkcode ReturnPathHandler}. */
  resumeAck(value: number): void {
    throw new MigrationError("BAD_PEER", `Destination resumes what was not paused: ${value}`);
  }

  /** Implements {@linkcode ReturnPathHandler}: an approval that nobody waits for. */
  switchoverAck(): void {}

  /** Frees its buffers. */
  close(): void {
    this.#records.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Looks without sleeping while the next request is likely: an idle core takes 70 us to wake. */
  #spin(): number {
    const end = this.#receivedAt + this.#init.spin * 1000;
    while (monotonicNanoseconds() < end) {
      const ready = this.#poll.wait(0);
      if (ready !== 0) return ready;
    }
    return 0;
  }

  #receive(): void {
    const returnPath = this.#returnPath;
    if (returnPath.receive() === 0) {
      if (!returnPath.ended) return;
      this.#state.setPeerClosed();
      throw returnPath.lost();
    }
    this.#receivedAt = monotonicNanoseconds();
    // While this thread serves, the background worker starts no new batch.
    this.#state.beginUrgent();
    try {
      returnPath.decode(this.#decoder);
    } finally {
      this.#state.endUrgent();
    }
    if (++this.#receipts % CLOCK_INTERVAL === 0) this.#noteCpuTime();
  }

  #noteCpuTime(): void {
    this.#state.setCpuTime("return-path", threadCpuNanoseconds());
  }

  /** Claims the pages and sends those that were not sent yet; the others are on their way already. */
  #answer(first: number, pages: number): void {
    this.#preempt ??= this.#openPreempt();
    const records = this.#records;
    const claims = this.#claims;
    const counters = this.#state.urgent;
    const end = first + pages;
    let page = first;
    while (true) {
      records.begin();
      while (!records.full) {
        if (!claims.begun) {
          if (page === end) break;
          const claimed = claims.claim(page);
          if (!claimed) this.#hasten(page);
          page = claims.behind;
          if (!claimed) continue;
        }
        records.add(claims.take());
      }
      if (records.pages + records.zeroPages === 0) break;
      records.end();
      if (!this.#preempt.send(records.gather)) return;
      counters.addPages(records.pages, records.zeroPages);
      counters.addBytes(records.byteLength);
      if (!claims.begun) this.#state.service.record(monotonicNanoseconds() - this.#receivedAt);
    }
  }

  /**
   * A huge page that is claimed may be only begun on the main channel: the background worker is told
   * that somebody waits for its rest. When the ring is full it has been told enough.
   */
  #hasten(page: number): void {
    if (!this.#layout.hasHugePages) return;
    this.#requests.push(page);
    signalEvent(this.#init.requestFd);
  }

  #enqueue(first: number, pages: number, pagesPerHostPage: number): void {
    for (let page = first; page < first + pages; page += pagesPerHostPage) {
      // On its way; and nobody empties the ring at the end.
      if (!this.#dirty.has(page)) {
        this.#hasten(page);
        continue;
      }
      while (!this.#requests.push(page)) {
        // The ring holds more than any guest can ask for at once; only a hostile peer fills it.
        signalEvent(this.#init.requestFd);
        if (this.#state.stopped) return;
        this.#poll.wait(1);
      }
    }
    signalEvent(this.#init.requestFd);
  }

  #openPreempt(): BlockingSender {
    const fd = this.#state.preemptFd;
    if (fd < 0) {
      throw new MigrationError(
        "BAD_PEER",
        "Destination asked for a page before the preempt channel was open",
      );
    }
    const { wakeFd, stallTimeout } = this.#init;
    const stopped = () => this.#state.stopped;
    const end = new SendingEnd({ fd }, TO_DESTINATION.PREEMPT);
    return new BlockingSender(end, { wakeFd, stopped, stallTimeout });
  }

  /** QEMU 7.2's thread for the channel waits for an EOS record; every page claimed here was sent before it. */
  #endPreempt(): boolean {
    if (this.#init.mode !== "preempt-full" || !this.#init.preemptEndOfSection) return true;
    if (this.#state.preemptFd < 0) return true; // precopy alone: it was never opened
    this.#preempt ??= this.#openPreempt();
    this.#records.begin();
    this.#records.endRecords();
    this.#records.end();
    return this.#preempt.send(this.#records.gather);
  }
}

function unconfirmed(milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not confirmed the end for ${milliseconds / 1000} s, all pages are sent: ` +
      "see whether it still runs",
  );
}
