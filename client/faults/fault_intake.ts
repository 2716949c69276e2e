/** Faults as they come from the userfaultfd: each is turned into a request, or answered at once. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Errno, errnoName } from "../../ffi/errno.ts";
import { FaultReader } from "../../ffi/fault_reader.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { BlockMap } from "../placing/block_map.ts";
import type { DestinationState } from "../placing/destination_state.ts";
import type { PageBitmaps } from "../placing/page_sink.ts";
import type { ReturnPathWriter } from "../return_path/return_path_writer.ts";
import { AbsentPages } from "./absent_pages.ts";
import type { WaitingThreads } from "./waiting_threads.ts";

const FAULTS_A_READ = 16;

/** Takes the faults of one destination, on the fault server's thread. */
export class FaultIntake implements Disposable {
  readonly #map: BlockMap;
  readonly #state: DestinationState;
  readonly #bitmaps: PageBitmaps;
  readonly #waiting: WaitingThreads;
  readonly #returnPath: ReturnPathWriter;
  readonly #faults: FaultReader;
  readonly #placer: PagePlacer;
  readonly #absent: AbsentPages;
  /** Whether pages are asked for; else they are only marked, while a source that resumes is not ready. */
  asking = true;
  /** Whether the userfaultfd could not be read: nothing is gained by another try before a source has resumed. */
  unreadable = false;

  /**
   * @param uffd the userfaultfd, owned elsewhere
   * @param map where the blocks lie
   * @param state counters, and whether the source is still there
   * @param bitmaps which pages are where
   * @param waiting who waits, for the latencies
   * @param returnPath where requests go
   * @param absent shared memory of the bitmap of pages that the source does not hold
   */
  constructor(
    uffd: number,
    map: BlockMap,
    state: DestinationState,
    bitmaps: PageBitmaps,
    waiting: WaitingThreads,
    returnPath: ReturnPathWriter,
    absent: SharedArrayBuffer,
  ) {
    this.#map = map;
    this.#state = state;
    this.#bitmaps = bitmaps;
    this.#waiting = waiting;
    this.#returnPath = returnPath;
    this.#faults = new FaultReader(uffd, FAULTS_A_READ);
    this.#placer = new PagePlacer(uffd);
    this.#absent = new AbsentPages(map, this.#placer, absent);
  }

  /** Frees its memory. */
  [Symbol.dispose](): void {
    this.#absent[Symbol.dispose]();
  }

  /**
   * Takes the faults that are there, without waiting. Requests are left in the return path's writer;
   * once the migration is paused, or not {@linkcode FaultIntake.asking}, none is made and the page only
   * marked as wanted.
   *
   * @throws {MigrationError} when the userfaultfd cannot be read, or the memory is gone
   */
  take(): void {
    const count = this.#faults.read();
    if (count < 0) {
      if (count === -Errno.EAGAIN || count === -Errno.EINTR) return;
      this.unreadable = true;
      throw new MigrationError("GUEST_FAILED", `Cannot read faults: ${errnoName(-count)}`);
    }
    const now = monotonicNanoseconds();
    for (let message = 0; message < count; message++) {
      if (this.#faults.isPageFault(message)) this.#fault(message, now);
    }
  }

  #fault(message: number, now: number): void {
    const address = this.#faults.address(message);
    const index = this.#map.blockAt(address);
    if (index < 0) return; // not ours: nothing else is registered
    const { received, requested } = this.#bitmaps;
    const { targetPageSize, blocks } = this.#map.layout;
    const { firstPage, pageSize } = blocks[index]!;
    // Of a huge page the first target page stands for all.
    const inBlock = address - this.#map.addressOf(index);
    const offset = inBlock - inBlock % pageSize;
    const page = firstPage + offset / targetPageSize;
    this.#state.addFaults(1);
    if (received.has(page)) {
      // Placed since, and placing woke the thread; or the kernel took it out of the page table, to
      // swap it out for example, and asks before it puts it back.
      // Or the source does not hold it: whatever is in its place in the page cache the guest has put there.
      if (this.#faults.isMinor(message)) this.#mapAgain(index, offset, pageSize);
      else if (this.#absent.has(page)) this.#absent.place(index, offset, pageSize);
      return;
    }
    // A minor fault is no better than another here: what is in the page cache and was not received is
    // zeros, brought there by a huge page or by a touch through another mapping, or was discarded.
    const asking = this.asking && !this.#state.paused;
    if (asking) this.#waiting.add(this.#faults.threadId(message), page, now);
    if (requested.add(page) && asking) {
      this.#returnPath.request(index, offset, pageSize);
      this.#state.addRequest();
    }
    // The main channel's thread may have placed it between the two looks: then it saw no request
    // and told nobody.
    if (received.has(page)) this.#waiting.placed(page, monotonicNanoseconds());
  }

  #mapAgain(index: number, offset: number, pageSize: number): void {
    const to = this.#map.addressOf(index) + offset;
    let placement: Placement;
    do placement = this.#placer.continue(to, pageSize); while (placement === Placement.RETRY);
    // Mapped meanwhile, for another thread: this one was not woken by that if it came late.
    if (placement === Placement.PRESENT) this.#placer.wake(to, pageSize);
  }
}
