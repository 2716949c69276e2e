/** The channels of multifd of one connection to a destination, as its control plane holds them. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import type { PageSource } from "../../pages/page_locator.ts";
import { MULTIFD_TASK, type MultifdMessage, type MultifdSenderInit } from "./multifd_sender.ts";
import type { MultifdSettings } from "./multifd_settings.ts";
import type { MultifdStatistics } from "./multifd_statistics.ts";
import { type MultifdInit, PacketLayout, PACKETS_ON_THE_WAY } from "./packet_slots.ts";
import type { MultifdRules } from "./multifd_rules.ts";

/** What the channels of a migration are made from. */
export interface SendingChannelsInit {
  readonly settings: MultifdSettings;
  readonly rules: MultifdRules;
  readonly layout: RamLayout;
  readonly pages: PageSource;
  readonly pool: ThreadPool;
  /** Milliseconds without progress after which the destination counts as stalled. */
  readonly stallTimeout: number;
}

/** Makes the rings and a task for each channel, and runs them on connections that their owner makes. */
export class SendingChannels implements Disposable {
  readonly #init: SendingChannelsInit;
  readonly #rings: WorkRings;
  readonly #stack = new DisposableStack();
  readonly #tasks: readonly PoolTask<MultifdSenderInit, MultifdMessage>[];
  readonly #entered = Promise.withResolvers<void>();
  readonly #connections: ConnectionInit[] = [];
  #missing: number;
  #shared: MultifdInit | undefined;

  /** @param init what they are made from */
  constructor(init: SendingChannelsInit) {
    this.#init = init;
    const { settings: { channels }, layout, pool } = init;
    const { words } = new PacketLayout(layout.targetPageSize);
    const shape = { workers: channels, words, capacity: PACKETS_ON_THE_WAY };
    const rings = this.#rings = new WorkRings(shape);
    rings.wakeFd = this.#stack.use(new Eventfd()).fd;
    for (let channel = 0; channel < channels; channel++) {
      rings.wakeWorkerBy(channel, this.#stack.use(new Eventfd()).fd);
    }
    this.#missing = channels;
    this.#tasks = Array.from({ length: channels }, () =>
      pool.task(MULTIFD_TASK, () => {
        if (--this.#missing === 0) this.#entered.resolve();
      }));
  }

  /** How many there are. */
  get channels(): number {
    return this.#tasks.length;
  }

  /** How the destination is spoken to. */
  get rules(): MultifdRules {
    return this.#init.rules;
  }

  /** For the task that gives them pages; undefined before they run. */
  get init(): MultifdInit | undefined {
    return this.#shared;
  }

  /**
   * Figures.
   *
   * @param bytes that were sent on them
   */
  statistics(bytes: number): MultifdStatistics {
    const { channels, compression } = this.#init.settings;
    return { channels, compression: compression?.method ?? "none", bytes };
  }

  /** The processor time that each channel took, nanoseconds. */
  get cpuTimes(): number[] {
    return this.#tasks.map((_, channel) => this.#rings.cpuTime(channel));
  }

  /** Rejects with what one of them failed with. */
  get failed(): Promise<never> {
    return Promise.race(this.#tasks.map(({ ended }) => ended.then(() => forever)));
  }

  /** Sees that their threads are there. */
  async prepare(): Promise<void> {
    await Promise.all(this.#tasks.map((task) => task.prepare()));
  }

  /**
   * Lets the next channel say who it is, at once: a QEMU through TLS reads that before it takes another
   * connection.
   *
   * @param connection owned elsewhere
   */
  run(connection: ConnectionInit): void {
    const { settings, rules, layout, pages, stallTimeout } = this.#init;
    const { shape, buffer } = this.#rings;
    const channel = this.#connections.push(connection) - 1;
    this.#tasks[channel]!.run({
      settings,
      ...rules,
      shape,
      rings: buffer,
      connection,
      channel,
      blocks: layout.blocks.map(({ name }) => name),
      targetPageSize: layout.targetPageSize,
      pages,
      stallTimeout,
    });
  }

  /** Resolves when all of them can take pages; rejects with what one of them failed with. */
  async entered(): Promise<void> {
    await Promise.race([this.#entered.promise, this.failed]);
    const { settings, rules } = this.#init;
    const { shape, buffer } = this.#rings;
    this.#shared = { settings, ...rules, shape, rings: buffer, connections: this.#connections };
  }

  /** Tells the tasks, and who gives them pages, to end. */
  stop(): void {
    this.#rings.stop();
  }

  /** Waits for the tasks' end. */
  async join(): Promise<void> {
    await Promise.all(this.#tasks.map((task) => task.join()));
  }

  /** Frees what they were woken by: no task uses it any more, that which gave them pages neither. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

const forever = new Promise<never>(() => {});
