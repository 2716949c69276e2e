/** A guest's writes, and what one costs. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { DirtyTracker } from "../../server/live/dirty_tracker.ts";
import { PAGE_BYTES, type Passes, type PassJob, type WriteJob, type WriteOrder } from "./jobs.ts";

const PAGE_WORDS = PAGE_BYTES / 4;

/** Writes between two looks at the clock, which take some 60 ns each. */
export const BATCH = 256;

function wordsOf(job: { readonly address: number; readonly pages: number }): Int32Array {
  return new Int32Array(viewMemory(job.address, job.pages * PAGE_BYTES).buffer);
}

/** One step of xorshift32: never 0, and no allocation. */
function nextRandom(state: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  return state ^ (state << 5);
}

/**
 * Writes a word of one page after the other until the time is over.
 *
 * @returns nanoseconds a write, by batch of {@linkcode BATCH}
 */
export function writeContinuously(job: WriteJob): Float64Array {
  const words = wordsOf(job);
  const { pages, order } = job;
  let samples = new Float64Array(1 << 16);
  let count = 0;
  let state = 0x9e37_79b9;
  let page = 0;
  const start = monotonicNanoseconds();
  const end = start + job.milliseconds * 1e6;
  for (let before = start; before < end;) {
    if (order === "random") {
      for (let write = 0; write < BATCH; write++) {
        state = nextRandom(state);
        const at = (state >>> 0) % pages * PAGE_WORDS + (state & (PAGE_WORDS - 1));
        words[at] = state;
      }
    } else {
      for (let write = 0; write < BATCH; write++) {
        words[page * PAGE_WORDS] = write;
        if (++page === pages) page = 0;
      }
    }
    const now = monotonicNanoseconds();
    if (count === samples.length) {
      const more = new Float64Array(2 * count);
      more.set(samples);
      samples = more;
    }
    samples[count++] = (now - before) / BATCH;
    before = now;
  }
  return samples.slice(0, count);
}

function pageOrder(pages: number, order: WriteOrder): Uint32Array {
  const list = Uint32Array.from({ length: pages }, (_, page) => page);
  if (order === "sequential") return list;
  let state = 0x9e37_79b9;
  for (let last = pages - 1; last > 0; last--) {
    state = nextRandom(state);
    const other = (state >>> 0) % (last + 1);
    const page = list[last]!;
    list[last] = list[other]!;
    list[other] = page;
  }
  return list;
}

/** Writes once to each page, and notes the nanoseconds a write by batch. */
function pass(words: Int32Array, order: Uint32Array, samples: Float64Array, from: number): void {
  for (let batch = 0; batch < order.length / BATCH; batch++) {
    const start = monotonicNanoseconds();
    for (let index = batch * BATCH; index < (batch + 1) * BATCH; index++) {
      words[order[index]! * PAGE_WORDS] = index;
    }
    samples[from + batch] = (monotonicNanoseconds() - start) / BATCH;
  }
}

/** Writes once to every page, again and again: without tracking, with it, and after it. */
export function writePasses(job: PassJob): Passes {
  const words = wordsOf(job);
  const order = pageOrder(job.pages, job.order);
  const batches = Math.floor(job.pages / BATCH);
  const off = new Float64Array(job.passes * batches);
  const on = new Float64Array(job.passes * batches);
  const stopped = new Float64Array(batches);
  const { address, pages } = job;
  const block = { address, length: pages * PAGE_BYTES, pageSize: PAGE_BYTES, firstPage: 0 };
  const dirty = new PageBitmap(pages);
  using tracker = new DirtyTracker({ blocks: [block], targetPageSize: PAGE_BYTES });
  pass(words, order, stopped, 0); // compiles the loop
  for (let count = 0; count < job.passes; count++) pass(words, order, off, count * batches);
  tracker.start();
  for (let count = 0; count < job.passes; count++) {
    pass(words, order, on, count * batches);
    dirty.clear(0, pages);
    tracker.collect(dirty);
  }
  tracker.stop();
  pass(words, order, stopped, 0);
  return { off, on, stopped };
}
