/** The tasks of one destination, and what they share. */

import type { ConnectionInit } from "../channel/connection.ts";
import { Eventfd } from "../ffi/eventfd.ts";
import type { Backing } from "../ffi/memory.ts";
import type { CompressionMethod } from "../migration/compression.ts";
import { PageBitmap } from "../migration/memory/page_bitmap.ts";
import {
  switchoverAckInit,
  type SwitchoverAckOptions,
} from "../migration/protocol/switchover_ack.ts";
import type { PoolTask, ThreadPool } from "../migration/threads/thread_pool.ts";
import { MainHandover } from "./connecting/main_handover.ts";
import { listenersRing } from "./connecting/listeners.ts";
import type { IncomingConnections } from "./connecting/preempt_door.ts";
import {
  type DecompressionStatistics,
  DecompressionThreads,
} from "./decompression/decompression_threads.ts";
import { type GuestPlace, MULTIFD_GUEST_TASK } from "./incoming/multifd_guest.ts";
import { MultifdArrivals } from "./multifd/multifd_arrivals.ts";
import type { DestinationOptions } from "./destination_options.ts";
import { AwaitedPages } from "./faults/awaited_pages.ts";
import type { FaultMessage, FaultServerInit } from "./faults/fault_messages.ts";
import { FAULT_TASK } from "./faults/fault_task.ts";
import type { MainChannelInit, MainChannelMessage, ReadBefore } from "./incoming/main_channel.ts";
import { MAIN_CHANNEL_TASK } from "./incoming/main_channel_task.ts";
import { DestinationState } from "./placing/destination_state.ts";
import type { ListeningBlocks } from "./placing/guest_memory_store.ts";
import { ControlAnswers } from "./return_path/control_answers.ts";
import { landedRing, returnPathRing } from "./return_path/return_path_ring.ts";

/** Tasks that fail again and again, without a source that resumes between, will not do better. */
const MOST_MADE_ANEW = 8;

/** Options of a destination that its tasks go by. */
type TasksOptions =
  & Pick<DestinationOptions, "decompressThreads" | "multifdChannels">
  & SwitchoverAckOptions;

/** Whose tasks, and who hears of them. */
export interface DestinationTasksInit {
  readonly pool: ThreadPool;
  /** The userfaultfd, open until the tasks have ended. */
  readonly uffd: number;
  readonly backing: Backing;
  /** Microseconds, of the fault server. */
  readonly spin: number;
  /** What the source does that its destination is told of. */
  readonly options: TasksOptions;
  /** One of them broke, or they are not as they should be. */
  readonly onChannelLost: (error: Error) => void;
  readonly onMainChannel: (message: MainChannelMessage) => void;
  readonly onFault: (message: FaultMessage) => void;
  /** A task failed, or its thread: the other is of no use alone. */
  readonly onLost: (error: Error) => void;
  /** The fault server, which accepts connections, has ended. */
  readonly onServed: () => void;
}

/**
 * Runs the two tasks of a destination. They live as long as it does: a connection that breaks leaves them
 * waiting for the next. One whose thread dies is made anew, from what is shared.
 */
export class DestinationTasks implements Disposable {
  /** Flags and counters. */
  readonly state = new DestinationState();
  /** What the control plane answers. */
  readonly answers: ControlAnswers;
  readonly #init: DestinationTasksInit;
  readonly #stack = new DisposableStack();
  readonly #mainWake = this.#stack.use(new Eventfd());
  readonly #faultWake = this.#stack.use(new Eventfd());
  readonly #mainAnswers = returnPathRing();
  readonly #landed = landedRing();
  /** Further places where it listens, and the ring by which the fault server learns of them. */
  readonly #alsoListening: number[] = [];
  #listeners = listenersRing();
  readonly #handover = new MainHandover();
  /** Channels of multifd, expected or not. */
  readonly multifd: MultifdArrivals<GuestPlace>;
  /** Done when all of them are here. */
  #whenComplete: (() => void) | undefined;
  #decompression: DecompressionThreads;
  #main: PoolTask<MainChannelInit, MainChannelMessage>;
  #fault: PoolTask<FaultServerInit, FaultMessage>;
  #method: CompressionMethod | undefined;
  #faultInit: FaultServerInit | undefined;
  /** Tasks made anew since a source has resumed. */
  #madeAnew = 0;
  #mainInit: MainChannelInit | undefined;
  /** Decompression threads of a task that is no more, on their way to their end. */
  #endings: Promise<void> = Promise.resolve();

  /**
   * Makes the tasks; they cost no thread before {@linkcode DestinationTasks.prepare}.
   *
   * @param init whose tasks
   * @throws {RangeError} for a number of decompression threads that cannot be
   */
  constructor(init: DestinationTasksInit) {
    this.#init = init;
    this.#decompression = new DecompressionThreads(init.options.decompressThreads, init.pool);
    this.answers = new ControlAnswers(this.#faultWake);
    this.#main = this.#makeMain();
    this.#fault = this.#makeFault();
    const { options: { multifdChannels: channels }, pool, onChannelLost: onFail } = init;
    this.multifd = new MultifdArrivals({
      ...{ channels, pool, onFail, kind: MULTIFD_GUEST_TASK, mainWakeFd: this.#mainWake.fd },
      mainBytes: () => this.state.mainBytes,
      onComplete: () => this.#whenComplete?.(),
    });
  }

  /**
   * The memory is known: channels of multifd place pages in it from here on.
   *
   * @param then done when all of them are here, at once where none is expected: until then connections are
   * accepted where they are found
   */
  place(blocks: ListeningBlocks, then: () => void): void {
    const { multifd } = this;
    const { uffd, backing } = this.#init;
    this.#whenComplete = then;
    if (multifd.complete) then();
    multifd.open({ uffd, backing, state: this.state.buffer, blocks }, blocks.mapped.targetPageSize);
  }

  /** Resolves when all can run at once; rejects when their threads cannot run. */
  async prepare(): Promise<void> {
    await Promise.all([this.#main.prepare(), this.#fault.prepare(), this.multifd.prepare()]);
  }

  /** Reads a main channel. */
  read(main: ConnectionInit): void {
    this.#mainInit = {
      main,
      uffd: this.#init.uffd,
      wakeFd: this.#mainWake.fd,
      faultWakeFd: this.#faultWake.fd,
      handover: this.#handover.shared,
      state: this.state.buffer,
      answers: this.#mainAnswers.buffer,
      landed: this.#landed.buffer,
      backing: this.#init.backing,
      decompression: this.#decompression.shared,
      approval: switchoverAckInit(this.#init.options),
      ...this.multifd.rounds,
    };
    this.#main.run(this.#mainInit);
  }

  /** Serves faults, and finds further connections. */
  serve(blocks: ListeningBlocks, main: ConnectionInit, incoming: IncomingConnections): void {
    this.#faultInit = {
      blocks,
      uffd: this.#init.uffd,
      main,
      wakeFd: this.#faultWake.fd,
      mainWakeFd: this.#mainWake.fd,
      handover: this.#handover.shared,
      listeners: this.#listeners.buffer,
      state: this.state.buffer,
      answers: this.#mainAnswers.buffer,
      controlAnswers: this.answers.buffer,
      landed: this.#landed.buffer,
      incoming,
      spin: this.#init.spin,
    };
    this.#fault.run(this.#faultInit);
  }

  /**
   * Finds connections at another place too.
   *
   * @param fd a listening socket, open until the tasks have ended
   */
  listenAlso(fd: number): void {
    this.#listeners.push(fd); // there is room for all the places of a destination
    this.#alsoListening.push(fd);
    this.#faultWake.signal();
  }

  /** Pages come compressed: threads are wanted. */
  decompress(method: CompressionMethod): void {
    this.#method = method;
    this.#decompression.start(method, this.#mainWake.fd);
  }

  /** Figures of compressed pages, if some came. */
  decompressed(): DecompressionStatistics | undefined {
    return this.#decompression.statistics();
  }

  /** Makes both look at the flags. */
  wake(): void {
    this.#mainWake.signal();
    this.#faultWake.signal();
  }

  /**
   * Makes a task anew that failed, as when its thread dies, to wait for a source that resumes. Nothing is lost with a
   * thread: what is in place, claimed and asked for is in shared memory, and whoever waits for a page is
   * made to say so again.
   *
   * @param readBefore what the source has said of its machine
   * @param main any main channel of before, still open
   * @returns false when this helps no more
   */
  makeAnew(readBefore: ReadBefore, main: ConnectionInit): boolean {
    if (!this.#main.over && !this.#fault.over) return true;
    if (this.#madeAnew++ >= MOST_MADE_ANEW) return false;
    this.state.setTaskLost();
    if (this.#main.over) {
      this.#endDecompression();
      this.#decompression = new DecompressionThreads(
        this.#init.options.decompressThreads,
        this.#init.pool,
      );
      this.#main = this.#makeMain();
      const decompression = this.#decompression.shared;
      const method = this.#method === undefined ? {} : { method: this.#method };
      const init = { main, decompression, readBefore: { ...readBefore, ...method } };
      this.#mainInit = { ...this.#mainInit!, ...init };
      this.#main.run(this.#mainInit);
    }
    if (this.#fault.over) {
      this.#fault = this.#makeFault();
      // Whoever was silent was closed with the task.
      const incoming = { ...this.#faultInit!.incoming, silent: [] };
      this.#listeners = listenersRing();
      for (const fd of this.#alsoListening) this.#listeners.push(fd);
      const listeners = this.#listeners.buffer;
      this.#faultInit = { ...this.#faultInit!, main, incoming, listeners, anew: true };
      this.#fault.run(this.#faultInit);
    }
    return true;
  }

  /** A source has resumed: the tasks are in order. */
  recovered(): void {
    this.#madeAnew = 0;
  }

  /**
   * Whether a thread was made to fault again whose page is not here: between the two faults the userfaultfd
   * does not know of it.
   */
  get refaults(): boolean {
    const init = this.#faultInit;
    if (init?.anew !== true) return false;
    const { received, requested } = init.blocks;
    const pages = received.byteLength * 8;
    return new AwaitedPages(new PageBitmap(pages, received), new PageBitmap(pages, requested)).any;
  }

  /** Ends both; resolves when they have. */
  async stop(): Promise<void> {
    this.state.stop();
    this.wake();
    await Promise.all([this.#main.join(), this.#fault.join(), this.multifd.stop()]);
    this.#endDecompression();
    await this.#endings;
  }

  /** Frees what they shared, once they have ended. */
  [Symbol.dispose](): void {
    this.multifd.close();
    this.#stack.dispose();
  }

  #makeMain(): PoolTask<MainChannelInit, MainChannelMessage> {
    const { pool, onMainChannel, onLost } = this.#init;
    const task = pool.task(MAIN_CHANNEL_TASK, onMainChannel);
    task.ended.catch(onLost).then(() => {
      if (task === this.#main) this.#decompression.stop();
    });
    return task;
  }

  #makeFault(): PoolTask<FaultServerInit, FaultMessage> {
    const { pool, onFault, onLost, onServed } = this.#init;
    const task = pool.task(FAULT_TASK, onFault);
    task.ended.catch(onLost).then(() => {
      if (task === this.#fault) onServed();
    });
    return task;
  }

  #endDecompression(): void {
    this.#endings = Promise.all([this.#endings, this.#decompression.close()]).then(() => {});
  }
}
