/** One process whose memory is served: what belongs to it, and its task. */

import { Eventfd } from "../../ffi/eventfd.ts";
import type { MappedMemory } from "../../ffi/memory.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { waitingFaults } from "../../ffi/waiting_faults.ts";
import { endWaits, waitReady } from "../../ffi/wait_ready.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { reviveMigrationError } from "../../migration/migration_error.ts";
import { WorkerThreadError } from "../../migration/threads/failure.ts";
import type { PoolTask } from "../../migration/threads/thread_pool.ts";
import type { Handover } from "./handover.ts";
import { LazyState } from "./lazy_state.ts";
import { type LazyStatistics, statisticsOf } from "./lazy_statistics.ts";
import type { LazyInit, LazyMessage, OnLoss } from "./lazy_task.ts";
import type { MemoryPages } from "./memory_pages.ts";
import type { ArrivingInit } from "./remote/arriving_memory.ts";
import { BASE_PAGE } from "./region.ts";
import { RegionMap } from "./region_map.ts";
import { removedPages } from "./removal_record.ts";
import { DirtyBitmap, type DirtyPages, markRemoved, WrittenMemory } from "./written_memory.ts";

/** How a session is served. */
export interface LazySessionOptions {
  readonly memory: MemoryPages;
  /** Its place at an image that is elsewhere, until it has ended. */
  readonly arriving?: ArrivingInit | undefined;
  /** See `LazyInit`. */
  readonly plan?: SharedArrayBuffer | undefined;
  readonly touches?: SharedArrayBuffer | undefined;
  readonly onLoss: OnLoss;
  readonly fill: boolean;
  /** Whether it is to be told what the process writes to. */
  readonly dirty: boolean;
  /** Makes the session's task, anew when its thread dies. */
  readonly newTask: (hear: (message: LazyMessage) => void) => PoolTask<LazyInit, LazyMessage>;
  readonly tell: (
    message: Exclude<LazyMessage, { kind: "read" }> | {
      readonly kind: "failed";
      readonly error: unknown;
    },
  ) => void;
}

/** Owns what was handed over until the process is gone, or it is closed. */
export class LazySession {
  readonly #handover: Handover;
  readonly #options: LazySessionOptions;
  readonly #stack = new DisposableStack();
  readonly #state = new LazyState();
  readonly #init: LazyInit;
  readonly #wake: Eventfd;
  readonly #ended = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  readonly #total: number;
  readonly #written: WrittenMemory | string;
  /** Who waits for an answer of the task, by the question's number. */
  readonly #asking = new Map<number, () => void>();
  #task: PoolTask<LazyInit, LazyMessage>;
  #over = false;

  /**
   * @param handover which is the session's from here on
   * @param record memory of a `RemovalRecord`, likewise
   */
  constructor(handover: Handover, record: MappedMemory, options: LazySessionOptions) {
    this.#handover = handover;
    this.#options = options;
    const { uffd, socket, peer, regions } = this.#stack.use(handover);
    const { pageCount } = new RegionMap(regions);
    this.#total = pageCount * BASE_PAGE;
    this.#wake = this.#stack.use(new Eventfd());
    this.#written = options.dirty
      ? WrittenMemory.open(peer, regions)
      : "it was not asked for: start with dirty, or --dirty";
    if (typeof this.#written !== "string") this.#stack.use(this.#written);
    this.#init = {
      uffd,
      socketFd: socket.fd,
      pidfd: peer.pidfd,
      wakeFd: this.#wake.fd,
      regions,
      memory: options.memory,
      arriving: options.arriving,
      plan: options.plan,
      touches: options.touches,
      record: this.#stack.use(record).address,
      placed: new PageBitmap(Math.ceil(pageCount / 32) * 32).buffer,
      state: this.#state.buffer,
      protect: typeof this.#written !== "string",
      onLoss: options.onLoss,
      fill: options.fill,
    };
    this.#task = this.#run();
  }

  /** Resolves when the process is gone, or this was closed, and all is freed. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** True when this was closed: the process may need its memory still. */
  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The figures so far. */
  statistics(): LazyStatistics {
    const process = { pid: this.#handover.peer.pid, total: this.#total, state: this.#state };
    return statisticsOf(process, this.#over ? 0 : waitingFaults(this.#init.uffd));
  }

  /** Why it cannot be told what the process writes to; undefined when it can. */
  get untold(): string | undefined {
    return typeof this.#written === "string" ? this.#written : undefined;
  }

  /**
   * The pages that the process has changed. Those that it changes meanwhile may be among them or not: for a
   * snapshot it stands still.
   *
   * @param length bytes of the memory file
   * @throws {Error} when that cannot be told, or the process is gone
   */
  async dirtyPages(length: number): Promise<DirtyPages> {
    const { pid } = this.#handover.peer;
    const written = this.#written;
    if (typeof written === "string") throw new Error(`Process ${pid}: ${written}`);
    if (this.#over) throw new Error(`Process ${pid}: it has ended`);
    const bitmap = new DirtyBitmap(length);
    written.mark(bitmap);
    // Then what was removed: a page that was gone already when it was looked for is in the record by now, for
    // memory goes behind the read of its message.
    await this.#allRead();
    if (this.#over) throw new Error(`Process ${pid}: it has ended`);
    const { record, regions } = this.#init;
    markRemoved(bitmap, removedPages(record, this.#total / BASE_PAGE), regions);
    return { pid, bitmap: bitmap.bytes, pages: bitmap.count() };
  }

  /** Resolves when the task has read all events that are there now, or has ended. */
  async #allRead(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const asked = this.#state.ask();
    this.#asking.set(asked, resolve);
    this.#wake.signal();
    await Promise.race([promise, this.#ended.promise]);
    this.#asking.delete(asked);
  }

  #hear(message: LazyMessage): void {
    if (message.kind !== "read") return this.#options.tell(message);
    // Questions that came before the last were answered with it.
    for (const [asked, resolve] of this.#asking) if (asked <= message.asked) resolve();
  }

  /** Lets go of the process: whoever touches a missing page then waits as long as it keeps a descriptor. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#state.stop();
    this.#wake.signal();
    await this.#ended.promise;
  }

  #run(): PoolTask<LazyInit, LazyMessage> {
    const task = this.#options.newTask((message) => this.#hear(message));
    task.run(this.#init);
    task.ended.then(() => this.#end(), (error) => this.#failed(error));
    return task;
  }

  async #failed(error: unknown): Promise<void> {
    if (error instanceof WorkerThreadError && error.code === "THREAD_DIED") {
      // Another's fault: what is in place and what was removed is known, and who waits is made to ask again.
      if (!this.#closing.signal.aborted) return void (this.#task = this.#run());
      return await this.#end();
    }
    this.#options.tell({ kind: "failed", error: reviveMigrationError(error) });
    // Never zeros: the descriptor stays open as long as anybody may wait.
    const { pidfd } = this.#init;
    const { signal } = this.#closing;
    if (pidfd >= 0) {
      await waitReady(pidfd, PollEvents.IN, "the process's end", { signal }).catch(() => {});
    } else if (!signal.aborted) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }
    await this.#end();
  }

  async #end(): Promise<void> {
    await this.#task.join();
    this.#over = true;
    endWaits(this.#init.pidfd);
    this.#stack.dispose();
    this.#ended.resolve();
  }
}
