/** Threads that write to tracked memory, collect what is dirty, and copy it, all at once. */

import { viewMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { DirtyTracker, type DirtyTrackerInit } from "../../server/live/dirty_tracker.ts";
import { Random } from "../support/random.ts";

/** Bytes of a page. */
export const PAGE = 4096;
const PAGE_WORDS = PAGE / 4;
/** Pages that a writer has before it at a time. */
const WINDOW = 64;
const WRITES_A_PAGE = 16;

/** What all threads share: an array of i32. */
export const Shared = {
  /** Collects begun. */
  ROUND: 0,
  /** Threads that write. */
  WRITERS: 1,
  /** Not 0: everything is collected. */
  COLLECTED: 2,
  WORDS: 3,
} as const;

/**
 * Writes to random pages of a window that moves over the memory once, when collecting has begun: the
 * last write to a page is as likely as any other to fall into a collect, and nothing hides its loss.
 */
export interface WriteJob {
  readonly name: "write";
  readonly shared: SharedArrayBuffer;
  readonly address: number;
  readonly pages: number;
  readonly seed: number;
  /** An i32 a page: the round that had begun before this thread last wrote to it. */
  readonly log: SharedArrayBuffer;
}

/** What becomes of dirty pages: they are copied, left to another thread, or noted with their round. */
export type Taking =
  | { readonly name: "copy"; readonly from: number; readonly to: number }
  | { readonly name: "leave" }
  | { readonly name: "note"; readonly rounds: SharedArrayBuffer };

/** Tracks the memory, collects again and again while writers run, then once more. */
export interface CollectJob {
  readonly name: "collect";
  readonly shared: SharedArrayBuffer;
  readonly tracker: DirtyTrackerInit;
  readonly bitmap: SharedArrayBuffer;
  readonly pages: number;
  readonly writers: number;
  readonly taking: Taking;
}

/** Copies dirty pages that another thread collects. */
export interface CopyJob {
  readonly name: "copy";
  readonly shared: SharedArrayBuffer;
  readonly bitmap: SharedArrayBuffer;
  readonly pages: number;
  readonly from: number;
  readonly to: number;
}

/** What a thread does. */
export type Job = WriteJob | CollectJob | CopyJob;

/** Does a job. */
export function work(job: Job): void {
  switch (job.name) {
    case "write":
      return write(job);
    case "collect":
      return collect(job);
    case "copy":
      return copy(job);
  }
}

function write(job: WriteJob): void {
  const shared = new Int32Array(job.shared);
  const log = new Int32Array(job.log);
  const words = new Int32Array(viewMemory(job.address, job.pages * PAGE).buffer);
  const random = new Random(job.seed);
  change(shared, Shared.WRITERS, 1);
  while (Atomics.load(shared, Shared.ROUND) === 0) Atomics.wait(shared, Shared.ROUND, 0);
  for (let write = 0; write < (job.pages - WINDOW) * WRITES_A_PAGE; write++) {
    const page = Math.floor(write / WRITES_A_PAGE) + random.u32() % WINDOW;
    const round = Atomics.load(shared, Shared.ROUND);
    words[page * PAGE_WORDS + random.u32() % PAGE_WORDS] = random.u32();
    log[page] = round;
  }
  change(shared, Shared.WRITERS, -1);
}

function collect(job: CollectJob): void {
  const shared = new Int32Array(job.shared);
  const dirty = new PageBitmap(job.pages, job.bitmap);
  const take = taker(job, dirty);
  using tracker = new DirtyTracker(job.tracker);
  for (let writers = 0; writers < job.writers;) {
    Atomics.wait(shared, Shared.WRITERS, writers);
    writers = Atomics.load(shared, Shared.WRITERS);
  }
  tracker.start();
  dirty.fill(0, job.pages); // the first pass is over everything
  take(0);
  let round = 0;
  do {
    round++;
    change(shared, Shared.ROUND, 1);
    tracker.collect(dirty);
    take(round);
  } while (Atomics.load(shared, Shared.WRITERS) > 0);
  tracker.collect(dirty);
  take(round);
  change(shared, Shared.COLLECTED, 1);
}

function taker(job: CollectJob, dirty: PageBitmap): (round: number) => void {
  const { taking, pages } = job;
  switch (taking.name) {
    case "leave":
      return () => {};
    case "copy": {
      const from = viewMemory(taking.from, pages * PAGE);
      const to = viewMemory(taking.to, pages * PAGE);
      return () => copyTaken(dirty, from, to);
    }
    case "note": {
      const rounds = new Int32Array(taking.rounds);
      return (round) => {
        for (let page = dirty.next(0); page >= 0; page = dirty.next(page + 1)) {
          if (dirty.take(page)) rounds[page] = round;
        }
      };
    }
  }
}

function copy(job: CopyJob): void {
  const shared = new Int32Array(job.shared);
  const dirty = new PageBitmap(job.pages, job.bitmap);
  const from = viewMemory(job.from, job.pages * PAGE);
  const to = viewMemory(job.to, job.pages * PAGE);
  let last = false;
  while (!last) {
    last = Atomics.load(shared, Shared.COLLECTED) !== 0;
    copyTaken(dirty, from, to);
  }
}

/** Copies the pages whose bits it gets, as precopy sends them. */
function copyTaken(dirty: PageBitmap, from: Uint8Array, to: Uint8Array): void {
  for (let page = dirty.next(0); page >= 0; page = dirty.next(page + 1)) {
    if (!dirty.take(page)) continue;
    to.set(from.subarray(page * PAGE, (page + 1) * PAGE), page * PAGE);
  }
}

function change(shared: Int32Array, index: number, by: number): void {
  Atomics.add(shared, index, by);
  Atomics.notify(shared, index);
}
