/** A destination whose connections break, and sources that resume. */

import { assert, assertEquals } from "@std/assert";
import { Destination, type DestinationOptions } from "../../client/destination.ts";
import { waitingFaults } from "../../ffi/waiting_faults.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { HostileSource, PATTERN } from "../hostile/scripted_source.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** Two blocks, so that it matters which one a request names, of sizes that are no multiples of 64 pages. */
export const BLOCKS: Readonly<Record<string, number>> = { ram: 100, video: 33 };
/** Pages of both. */
export const PAGES = 133;
/** Their numbers. */
export const ALL: readonly number[] = Array.from({ length: PAGES }, (_, page) => page);
/** What the source remembers of its guest. */
const pattern = new TestPattern(PATTERN);

/** A guest that runs here, and threads of it that wait for pages. */
export class Recovering implements AsyncDisposable {
  readonly guest: StillGuest;
  readonly destination: Destination;
  /** Where it listens. */
  to: SocketAddress = LOOPBACK;
  readonly #stack = new AsyncDisposableStack();
  readonly #uffd: number;
  readonly #threads: (readonly [page: number, thread: FaultingThread])[] = [];

  private constructor(options: Partial<DestinationOptions>) {
    this.guest = new StillGuest();
    const others = openUserfaultfds();
    this.destination = this.#stack.use(new Destination({ guest: this.guest, ...options }));
    this.#uffd = openUserfaultfds().find((fd) => !others.includes(fd))!;
  }

  /** Makes one whose guest runs, and its source. */
  static async start(
    options: Partial<DestinationOptions> = {},
  ): Promise<{ run: Recovering; source: HostileSource }> {
    const run = new Recovering(options);
    run.to = await run.destination.listen(LOOPBACK);
    const source = run.source();
    await source.connect();
    await source.switchOver();
    await within("the guest to start", run.destination.waitFor("postcopy-active"));
    return { run, source };
  }

  /** A source that has not connected yet. */
  source(): HostileSource {
    return this.#stack.use(new HostileSource(this.to, BLOCKS));
  }

  /** A thread touches a page; several may touch the same. */
  touch(page: number): void {
    this.#threads.push([page, this.#stack.use(new FaultingThread(this.#address(page)))]);
  }

  /** Pages that threads have touched and not got. */
  get waitedFor(): number[] {
    const waiting = this.#threads.filter(([, thread]) => !thread.isThrough);
    return [...new Set(waiting.map(([page]) => page))].sort((one, other) => one - other);
  }

  /** Connects a source that resumes, and goes on with it until it knows which pages are here. */
  async ask(): Promise<HostileSource> {
    const source = this.source();
    await source.connect();
    source.encodeRecovery();
    await source.flush();
    await within("the bitmaps", source.hear((_, { bitmaps }) => bitmaps.size === 2));
    assertEquals([...source.resuming.bitmaps.values()].map(({ length }) => length), [16, 8]);
    await within("the status", this.destination.waitFor("postcopy-recover"));
    return source;
  }

  /** Says RESUME and sees that each page somebody waits for is asked for, once. */
  async resume(source: HostileSource): Promise<void> {
    const missing = new Set(source.missing());
    const waited = this.waitedFor.filter((page) => missing.has(page));
    source.stream.command({ kind: "resume" });
    source.stream.command({ kind: "ping", value: 77 });
    await source.flush();
    await within("the answer to RESUME", source.hear((_, { acks }) => acks.length > 0));
    assertEquals(source.resuming.acks, [1]);
    await within("the status", this.destination.waitFor("postcopy-active"));
    await within(
      "the requests",
      source.hear(({ requests, pongs }) => requests.length >= waited.length && pongs.includes(77)),
    );
    assertEquals(this.requested(source), waited);
  }

  /** The pages that a source was asked for, as one numbers them. */
  requested(source: HostileSource): number[] {
    const pages = source.heard.requests.map(({ block, start, length }) => {
      assertEquals(length, 4096);
      return start / 4096 + (block === "ram" ? 0 : BLOCKS.ram!);
    });
    return pages.sort((one, other) => one - other);
  }

  /** Sees that the pages which are here by a source's bitmaps are what they should be. */
  assertHere(source: HostileSource): void {
    const missing = new Set(source.missing());
    for (const page of ALL) if (!missing.has(page)) this.#assertPage(page);
  }

  /** Sends what is missing and the end; sees that the memory is whole and nobody waits any more. */
  async complete(source: HostileSource, missing: readonly number[]): Promise<void> {
    source.encodePages(missing);
    source.encodeEnd();
    await source.flush();
    await within("the end", this.destination.finished);
    for (const [page, thread] of this.#threads) {
      assertEquals(await thread.found(), this.expected(page)[5]);
    }
    for (const page of ALL) this.#assertPage(page);
    await within("SHUT", source.hear(({ shuts }) => shuts.length > 0));
    assertEquals(source.heard.shuts, [0]);
    const { received, duplicates } = this.destination.statistics();
    assertEquals([received, duplicates], [PAGES, 0]);
    assertEquals(this.guest.calls, ["load", "start"]);
  }

  /** Waits until so many pages are in place. */
  async received(pages: number): Promise<void> {
    await until("the pages", () => this.destination.statistics().received === pages);
  }

  /** Waits until so many threads are held by the kernel. */
  async waiting(threads: number): Promise<void> {
    await until("the threads to be held", () => waitingFaults(this.#uffd) === threads);
  }

  /** What a page holds at the source. */
  expected(page: number): Int32Array {
    const words = new Int32Array(1024);
    pattern.expectedPage(page, words);
    return words;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #assertPage(page: number): void {
    const { words, first } = this.#place(page);
    const found = words.slice(first, first + 1024);
    const expected = this.expected(page);
    assert(found.every((word, index) => word === expected[index]), `page ${page}`);
  }

  #place(page: number): { words: Int32Array; first: number } {
    const inRam = page < BLOCKS.ram!;
    const first = (inRam ? page : page - BLOCKS.ram!) * 1024;
    return { words: this.guest.words(inRam ? 0 : 1), first };
  }

  #address(page: number): number {
    const inRam = page < BLOCKS.ram!;
    const { address } = this.guest.blocks[inRam ? 0 : 1]!;
    return address + (inRam ? page : page - BLOCKS.ram!) * 4096;
  }
}

/** Those that are open in this process now, whoever opened them. */
function openUserfaultfds(): number[] {
  const descriptors = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name));
  return descriptors.filter((fd) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[userfaultfd]";
    } catch {
      return false; // the directory's own, closed by now
    }
  });
}
