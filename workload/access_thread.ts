/** One thread of a workload: it touches pages, checks what it reads, and measures what waited. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import { PATTERN_PAGE_WORDS, type TestPatternSettings } from "./test_pattern.ts";
import { Control } from "./control.ts";
import { GuestPages, type PageRange } from "./guest_pages.ts";
import type { WorkloadSettings } from "./options.ts";
import { makePageOrder, type PageOrder, RandomNumbers, threadPages } from "./page_order.ts";
import { Pace } from "./pace.ts";
import { SharedPages, type SharedPagesBuffers } from "./shared_pages.ts";
import { ThreadRecord, type ThreadRecordBuffers } from "./thread_record.ts";
import { WrittenPattern, wrongByte } from "./written_page.ts";

/** What a thread is told when it starts; may be posted to a worker. */
export interface AccessJob {
  /** The thread's number. */
  readonly thread: number;
  /** What to do. */
  readonly settings: WorkloadSettings;
  /** What the memory holds. */
  readonly pattern: TestPatternSettings;
  /** Where the memory is. */
  readonly ranges: readonly PageRange[];
  /** Shared by all threads. */
  readonly control: SharedArrayBuffer;
  /** Shared by all threads. */
  readonly pages: SharedPagesBuffers;
  /** The thread's own. */
  readonly record: ThreadRecordBuffers;
}

/** The accesses of one thread. A test may call {@linkcode AccessThread.step} on any thread. */
export class AccessThread {
  readonly #thread: number;
  readonly #settings: WorkloadSettings;
  readonly #memory: GuestPages;
  readonly #pattern: WrittenPattern;
  readonly #control: Control;
  readonly #pages: SharedPages;
  readonly #record: ThreadRecord;
  readonly #random: RandomNumbers;
  readonly #order: PageOrder;
  readonly #limit: number;
  readonly #pace: Pace | undefined;

  /** @param job memory that must stay mapped while this thread runs */
  constructor(job: AccessJob) {
    const { settings, thread } = job;
    this.#thread = thread;
    this.#settings = settings;
    this.#memory = new GuestPages(job.ranges);
    this.#pattern = new WrittenPattern(job.pattern);
    this.#control = new Control(job.control);
    this.#pages = new SharedPages(this.#memory.count, job.pages);
    this.#record = new ThreadRecord(job.record);
    this.#random = new RandomNumbers(thread);
    const own = settings.write || settings.pattern === "once";
    const set = threadPages(this.#memory.count, thread, settings.threads, own);
    const startAt = own ? 0 : thread / settings.threads;
    this.#order = makePageOrder(settings.pattern, set, this.#random, startAt);
    this.#limit = settings.accesses === 0 ? Infinity : settings.accesses;
    this.#pace = settings.rate === 0 ? undefined : new Pace(
      settings.rate,
      monotonicNanoseconds,
      (milliseconds) => this.#control.sleep(milliseconds),
    );
  }

  /** Waits for the start, then accesses pages until the end. */
  run(): void {
    const pace = this.#pace;
    try {
      this.#control.waitForStart();
      if (pace === undefined) {
        while (this.step());
      } else {
        do pace.wait(); while (this.step());
      }
    } finally {
      this.#control.end(this.#thread);
    }
  }

  /**
   * Does one access, which waits for its page if it is missing.
   *
   * @returns false when this thread ends: stopped, done, or something was wrong
   */
  step(): boolean {
    const control = this.#control;
    if (!control.mayRun(this.#thread)) return false;
    const page = this.#order.next();
    if (page < 0) return false;
    const { touched, writes } = this.#pages;
    const memory = this.#memory;
    memory.locate(page);
    const words = memory.words;
    const write = this.#settings.write;
    const first = !touched.has(page);
    // A page that was touched has its count here too.
    if (first) {
      control.setTouching(this.#thread, true);
      if (control.stopped) return false;
    }
    const count = writes[page]!;
    const pattern = this.#pattern;
    const slot = write ? pattern.writeSlot(page, count) : this.#random.below(PATTERN_PAGE_WORDS);
    const at = memory.start + slot;
    let found: number;
    if (!first) {
      found = words[at]!;
    } else {
      // The wait for the count, if it lies in guest memory, is no part of the page's latency.
      if (control.stopped) return false;
      const before = monotonicNanoseconds();
      found = words[at]!;
      const waited = monotonicNanoseconds() - before;
      control.setTouching(this.#thread, false);
      // A thread that was held on a page when its destination closed may be let go with any content,
      // and the memory may be gone by now.
      if (control.stopped) return false;
      this.#touched(page, waited);
      const index = pattern.findDifference(words, memory.start, page, count);
      if (index >= 0) {
        const expected = pattern.word(page, index, count);
        return this.#fail(page, index, expected, words[memory.start + index]!);
      }
    }
    const expected = pattern.word(page, slot, count);
    if (found !== expected) return this.#fail(page, slot, expected, found);
    if (write) {
      words[at] = found + 1;
      writes[page] = count + 1;
    }
    this.#record.countAccess();
    if (this.#settings.untilTouched && control.touched === memory.count) return false;
    return this.#record.accesses < this.#limit;
  }

  #touched(page: number, waited: number): void {
    // Two threads may wait for one page: both waits count, the page counts once.
    if (waited >= this.#settings.waitThreshold) this.#record.recordWait(waited);
    if (this.#pages.touched.add(page)) this.#control.countTouched();
  }

  #fail(page: number, index: number, expected: number, found: number): boolean {
    this.#record.fail(wrongByte(page, index, expected, found));
    this.#control.stop(); // a machine with a wrong byte in its memory has crashed
    return false;
  }
}
