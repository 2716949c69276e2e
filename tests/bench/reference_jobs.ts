/** What the threads of the reference model do in its tests: no compression. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { ReferenceDispatcher } from "../../bench/compress/reference_dispatcher.ts";
import { runReferenceThread } from "../../bench/compress/reference_thread.ts";

/** A thread of a test. */
export type ReferenceJob = WorkJob | DispatchJob;

/** Works on pages until stopped. */
export interface WorkJob {
  readonly name: "work";
  readonly buffer: SharedArrayBuffer;
  readonly threads: number;
  readonly thread: number;
  /** Page for which it fails; -1 for none. */
  readonly failAt: number;
}

/** Dispatches pages, and checks what comes back. It may sleep for ever, so it is no test's own thread. */
export interface DispatchJob {
  readonly name: "give-all" | "flush-some" | "meet-failure";
  readonly buffer: SharedArrayBuffer;
  readonly threads: number;
  readonly wait: boolean;
}

/** Pages that are handed over or refused. */
const PAGES = 40_000;
/** Times that a thread goes through a loop for a page, at most. */
const LONGEST = 3000;

/** Beyond 2^32: addresses are no 32-bit numbers. */
const addressOf = (page: number): number => 0x7f00_0000_0000 + page * 4096;

/** What comes of a page: never 0, so that a page that was not worked on shows. */
function outputOf(page: number, address: number): number {
  return 1 + (Math.imul(page, 31) + address % 1000 & 0xfff);
}

function work({ buffer, threads, thread, failAt }: WorkJob): void {
  let turns = 0;
  runReferenceThread(buffer, threads, thread, (page, address) => {
    if (page === failAt) throw new Error(`Cannot compress page: ${page}`);
    // Some pages take long, as some compress badly.
    const last = turns + (Math.imul(page, 0x9e37_79b1) >>> 16) % LONGEST;
    while (turns < last) turns++;
    return outputOf(page, address);
  });
}

function giveAll({ buffer, threads, wait }: DispatchJob): void {
  const outputs = new Int32Array(PAGES);
  const times = new Uint8Array(PAGES);
  const dispatcher = new ReferenceDispatcher(threads, buffer, (_, page, bytes) => {
    outputs[page] = bytes;
    times[page]!++;
  });
  const refused = new Set<number>();
  for (let page = 0; page < PAGES; page++) {
    if (!dispatcher.handOver(page, addressOf(page), wait)) refused.add(page);
    assert(dispatcher.outstanding <= threads);
  }
  dispatcher.flush(() => true);
  assertEquals(dispatcher.outstanding, 0);
  dispatcher.stop();
  if (wait) assertEquals(refused.size, 0);
  for (let page = 0; page < PAGES; page++) {
    const handed = refused.has(page) ? 0 : 1;
    if (times[page] !== handed || handed && outputs[page] !== outputOf(page, addressOf(page))) {
      throw new Error(`Page ${page} came ${times[page]} times, last as: ${outputs[page]}`);
    }
  }
}

function flushSome({ buffer, threads }: DispatchJob): void {
  const taken: number[] = [];
  const dispatcher = new ReferenceDispatcher(threads, buffer, (_, page) => taken.push(page));
  for (let page = 0; page < threads; page++) dispatcher.handOver(page, addressOf(page), true);
  const before = taken.length;
  dispatcher.flush(() => taken.length <= before);
  assertEquals(taken.length, before + 1);
  assertEquals(dispatcher.outstanding, threads - taken.length);
  dispatcher.flush(() => true);
  assertEquals(taken.toSorted(), Array.from({ length: threads }, (_, page) => page));
  dispatcher.stop();
}

/** One thread, which fails at page 1. */
function meetFailure({ buffer, threads }: DispatchJob): void {
  const dispatcher = new ReferenceDispatcher(threads, buffer, () => {});
  dispatcher.handOver(0, addressOf(0), true);
  dispatcher.handOver(1, addressOf(1), true);
  assertThrows(() => dispatcher.handOver(2, addressOf(2), true), Error, "failed: 1");
  assertThrows(() => dispatcher.flush(() => true), Error, "failed: 1");
  dispatcher.stop();
}

/** Does a job on this thread. */
export function doReferenceJob(job: ReferenceJob): void {
  switch (job.name) {
    case "work":
      return work(job);
    case "give-all":
      return giveAll(job);
    case "flush-some":
      return flushSome(job);
    case "meet-failure":
      return meetFailure(job);
  }
}
