/** The source side of a live migration: a guest runs here until it runs at the destination. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { LiveGuest } from "../../migration/guest.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { untilAborted } from "../outgoing/answers.ts";
import { switchoverApproved } from "../outgoing/switchover_approval.ts";
import {
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
  PING,
} from "../sending/control_stream.ts";
import type { PostcopyPolicy } from "./convergence.ts";
import { settleGuest } from "./guest_fate.ts";
import { possiblePolicy } from "./possible_policy.ts";
import { type LiveRegion, streamMachine } from "./live_region.ts";
import {
  checkLiveOptions,
  DEFAULT_DOWNTIME_LIMIT,
  type LiveSourceOptions,
} from "./live_options.ts";
import { LiveState } from "./live_state.ts";
import { type LiveStatistics, liveStatistics } from "./live_statistics.ts";
import { withOrder } from "../order/order_statistics.ts";
import type { SendPlan } from "../order/send_plan.ts";
import { Outgoing } from "../outgoing/outgoing.ts";
import { saveGuest } from "./saved_guest.ts";
import type { PrecopyInit, PrecopyMessage } from "./precopy_sender.ts";
import type { SourceStatus } from "../outgoing/statistics.ts";
import { planOfWrites } from "./write_order.ts";

export type { LiveSourceOptions };

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 100;

/**
 * One live migration of a region and the guest that works on it. Until the destination has confirmed
 * that the guest is loaded there, every failure leaves it running here, with its memory untouched.
 *
 * @example
 * ```ts
 * import { LiveRegion } from "./live_region.ts";
 * import { LiveSource } from "./live_source.ts";
 * import type { LiveGuest } from "../../migration/guest.ts";
 * import { parseSocketAddress } from "../../ffi/socket_address.ts";
 *
 * async function move(region: LiveRegion, guest: LiveGuest, to: string): Promise<void> {
 *   await using source = new LiveSource(region, guest, { to: parseSocketAddress(to) });
 *   const done = source.run();
 *   for await (const { status, ram } of source) console.log(status, ram.remaining);
 *   await done;
 * }
 * ```
 */
export class LiveSource implements AsyncDisposable, AsyncIterable<LiveStatistics> {
  readonly #region: LiveRegion;
  readonly #guest: LiveGuest;
  readonly #options: LiveSourceOptions;
  #postcopy: PostcopyPolicy;
  readonly #live = new LiveState();
  readonly #sent: PageBitmap;
  /** What goes first behind the switchover. */
  readonly #plan: SendPlan | undefined;
  readonly #outgoing: Outgoing;
  readonly #wake: Eventfd;
  readonly #switchover = Promise.withResolvers<boolean>();
  readonly #memorySent = Promise.withResolvers<void>();
  readonly #precopy: PoolTask<PrecopyInit, PrecopyMessage>;
  readonly #over = Promise.withResolvers<void>();
  #run: Promise<LiveStatistics> | undefined;
  #migration: Promise<void> | undefined;
  #stopped = false;
  #bringsRest = false;
  #ended: Promise<void> | undefined;

  /**
   * Makes the source, which does nothing to the guest yet.
   *
   * @param region the guest's memory, which must stay open until the source is closed
   * @param guest what runs on it
   * @param options where to, and how
   * @param precopyThread module of the threads that copy the memory, in a task named `precopy`; another one
   * than the default is for measurements
   * @throws {RangeError} for a number of rounds or a downtime that is none, or a compression that cannot be
   * @throws {TlsError} for credentials that cannot be used
   */
  constructor(
    region: LiveRegion,
    guest: LiveGuest,
    options: LiveSourceOptions,
    precopyThread: URL = new URL("./precopy_worker.ts", import.meta.url),
  ) {
    checkLiveOptions(options);
    this.#region = region;
    this.#guest = guest;
    this.#options = options;
    this.#postcopy = options.postcopy ?? "auto";
    const { layout, machine, blocks } = region;
    this.#sent = new PageBitmap(layout.pageLimit);
    this.#plan = planOfWrites(this.#postcopy, layout);
    // A cancellation comes too late once the guest runs there, so the signal is not the channels'.
    const { signal: _, ...channels } = options;
    this.#outgoing = new Outgoing({
      layout,
      machine,
      sectionId: streamMachine(region).ramSection.id,
      live: true,
      ...this.#plan && { order: { plan: this.#plan.buffer, sends: true, holdBack: 0 } },
      pages: {
        kind: "live",
        blocks: blocks.map((block, i) => ({ ...block, firstPage: layout.blocks[i]!.firstPage })),
        pageSize: layout.targetPageSize,
        sent: this.#sent.buffer,
        pageLimit: layout.pageLimit,
      },
    }, channels);
    this.#wake = new Eventfd();
    const pool = options.pool ?? ThreadPool.shared;
    const kind = { thread: precopyThread, name: "precopy", urgent: false };
    this.#precopy = pool.task<PrecopyInit, PrecopyMessage>(kind, (message) => {
      if (message.kind === "switchover") this.#switchover.resolve(message.postcopy);
      else this.#memorySent.resolve();
    });
    this.#outgoing.join(this.#precopy, this.#wake);
  }

  /** Where the migration stands. */
  get status(): SourceStatus {
    return this.#outgoing.status;
  }

  /** Why the migration is paused, if it is. */
  get pauseReason(): Error | undefined {
    return this.#outgoing.pauseReason;
  }

  /** When the guest was told to stop, in monotonic nanoseconds of this host; undefined before. */
  get stoppedAt(): number | undefined {
    return this.#outgoing.times.stopped || undefined;
  }

  /** The figures so far. */
  statistics(): LiveStatistics {
    const outgoing = this.#outgoing;
    const remaining = outgoing.dirty.count();
    const now = monotonicNanoseconds();
    return withOrder(
      liveStatistics(outgoing.status, outgoing, this.#live, remaining, now),
      this.#plan,
    );
  }

  /** The figures every 100 ms, and once more at the end, whatever it is: `run` says which. */
  async *[Symbol.asyncIterator](): AsyncGenerator<LiveStatistics, void> {
    let over = false;
    const ended = this.#over.promise.then(() => over = true);
    while (!over) {
      yield this.statistics();
      const { promise: interval, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, PROGRESS_INTERVAL);
      await Promise.race([interval, ended]);
      clearTimeout(timer);
    }
    yield this.statistics();
  }

  /**
   * Migrates the guest. May be called once.
   *
   * @returns the final figures; the guest runs at the destination and has all its memory there
   * @throws {MigrationError} when it failed or was cancelled: the guest goes on here, unless the message
   * says that it was loaded at the destination already, or that nobody knows
   * @throws {SyscallError} when the destination cannot be reached
   * @throws what the guest's methods throw
   */
  run(): Promise<LiveStatistics> {
    if (this.#run !== undefined) throw new Error("A source runs once: make another");
    this.#run = this.#runOnce();
    return this.#run;
  }

  async #runOnce(): Promise<LiveStatistics> {
    const { signal } = this.#options;
    const onAbort = (): void => void this.cancel();
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    const { times } = this.#outgoing;
    times.started = monotonicNanoseconds();
    try {
      this.#migration = this.#migrate(this.#outgoing);
      await this.#migration;
      times.ended = monotonicNanoseconds();
      this.#outgoing.setStatus("completed");
    } catch (error) {
      const reason = await this.#fail(error);
      if (reason !== undefined) throw reason;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      await this.#end();
      this.#over.resolve();
    }
    return this.statistics();
  }

  /**
   * Switches to postcopy now: stops the guest here and runs it there, whatever memory is missing.
   * Does nothing after the switchover.
   *
   * @throws {MigrationError} when the migration was started without postcopy
   */
  startPostcopy(): void {
    if (this.#postcopy === "never") {
      throw new MigrationError(
        "UNSUPPORTED",
        "Cannot switch to postcopy: the destination was not told of it: migrate with another policy " +
          'than "never"',
      );
    }
    this.#live.wantPostcopy();
    this.#wake.signal();
  }

  /**
   * Breaks the connection of a migration that has switched to postcopy, as QEMU's `migrate-pause` does. It
   * goes on when {@linkcode LiveSource.recover} is called.
   *
   * @throws {MigrationError} `UNSUPPORTED` when it is not in postcopy
   */
  pause(): void {
    this.#outgoing.pause();
  }

  /**
   * Has a paused migration try to connect now, however long the next try would be away.
   *
   * @param to where the destination listens, if no longer where it did
   * @throws {MigrationError} `UNSUPPORTED` when it is not paused
   */
  recover(to?: SocketAddress): void {
    this.#outgoing.recover(to);
  }

  /**
   * Cancels the migration: `run` rejects with `CANCELLED`, the guest goes on here.
   *
   * @returns false when it is too late: from the moment at which the guest's state is sent only the
   * destination's answer decides where the guest runs
   */
  cancel(): boolean {
    const { state, signal, link } = this.#outgoing;
    if (state.switched || signal.aborted || link.signal.aborted) return false;
    this.#outgoing.fail(new MigrationError("CANCELLED", "Migration was cancelled"));
    return true;
  }

  /**
   * Ends its tasks and connections, and waits until the guest goes on here if it does; a migration
   * under way rejects with `CANCELLED`. When the guest runs at the destination and pages are missing
   * there, they are lost to it. Closing again does nothing.
   */
  async close(): Promise<void> {
    await this.#end();
    await this.#run?.catch(() => {});
    this.#over.resolve();
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #migrate(outgoing: Outgoing): Promise<void> {
    const { link, times } = outgoing;
    const { signal } = link;
    await untilAborted(this.#precopy.prepare(), signal);
    await outgoing.connect();
    const mayPostcopy = this.#postcopy !== "never";
    if (mayPostcopy) await outgoing.openPreempt("connected");
    outgoing.setStatus("active");
    const machine = streamMachine(this.#region);
    await link.send(encodeGreeting(machine.configuration));
    const extensions = await outgoing.agree(mayPostcopy);
    const note = this.#options.onNote;
    this.#postcopy = possiblePolicy(this.#postcopy, outgoing, this.#region.machine, note);
    const opening = {
      postcopy: this.#postcopy !== "never",
      multifdRecords: outgoing.marksRecords,
    };
    await link.send(encodeOpening(machine, extensions, opening));
    await outgoing.openPreempt("opened");
    times.prepared = monotonicNanoseconds();
    this.#awaitApproval();
    this.#precopy.run(this.#precopyInit());
    this.#precopy.ended.catch((error) => link.lose(error));
    const postcopy = await untilAborted(this.#switchover.promise, signal);
    // Nobody is handed a guest who was never heard: a connection that takes all may lead nowhere.
    await link.obeyed(postcopy ? PING.PREPARED : PING.RETURN_PATH);
    if (postcopy) await outgoing.openPreempt("switching");

    outgoing.setStatus("device");
    times.stopped = monotonicNanoseconds();
    this.#stopped = true;
    await this.#guest.stop();
    times.paused = monotonicNanoseconds();
    signal.throwIfAborted();
    this.#live.setGuestStopped();
    this.#wake.signal();
    const { sections, describe } = await saveGuest(this.#guest);
    times.saved = monotonicNanoseconds();
    await untilAborted(this.#memorySent.promise, signal);
    // From here on the guest may run there: nothing but the destination's answer decides.
    if (postcopy) {
      this.#bringsRest = true;
      return await outgoing.postcopy(async () => {
        await link.send(encodeSwitchover(sections));
        times.switched = monotonicNanoseconds();
      });
    }
    const description = describe(machine.targetPageSize);
    await outgoing.sendEnd(joinDeviceState({ devices: sections, description }));
    times.loaded = monotonicNanoseconds();
  }

  /** Has the precopy go on until the destination approves its end, if that is to be waited for. */
  #awaitApproval(): void {
    if (this.#options.switchoverAck !== true) return;
    this.#live.setUnapproved(true);
    switchoverApproved(this.#outgoing.link, this.#region.machine, this.#options).then(() => {
      this.#live.setUnapproved(false);
      if (this.#ended === undefined) this.#wake.signal();
    }, () => {}); // the link has failed of it
  }

  #precopyInit(): PrecopyInit {
    const { layout, blocks } = this.#region;
    const { maxBandwidth = 0, downtimeLimit = DEFAULT_DOWNTIME_LIMIT } = this.#options;
    const { link } = this.#outgoing;
    return {
      ...link.senderInit(),
      ...link.multifd,
      wakeFd: this.#wake.fd,
      sectionId: streamMachine(this.#region).ramSection.id,
      maxBandwidth,
      downtimeLimit,
      postcopy: this.#postcopy,
      tracked: blocks.map(({ address, length, pageSize }, index) => ({
        address,
        length,
        pageSize,
        firstPage: layout.blocks[index]!.firstPage,
      })),
      sent: this.#sent.buffer,
      live: this.#live.buffer,
    };
  }

  /** Ends the migration and lets the guest go on here, if it may; returns the error to throw, if any. */
  async #fail(error: unknown): Promise<unknown> {
    const { signal } = this.#outgoing;
    const cancelled = signal.aborted && signal.reason instanceof MigrationError &&
      signal.reason.code === "CANCELLED";
    await this.#end();
    return await settleGuest(error, {
      outgoing: this.#outgoing,
      guest: this.#guest,
      stopped: this.#stopped,
      bringsRest: this.#bringsRest,
      cancelled,
    });
  }

  #end(): Promise<void> {
    this.#ended ??= this.#endOnce();
    return this.#ended;
  }

  async #endOnce(): Promise<void> {
    try {
      await this.#outgoing.close(this.#migration);
    } finally {
      this.#wake.close();
      this.#outgoing.times.ended ||= monotonicNanoseconds();
    }
  }
}
