/** The source side of a live migration: a guest runs here until it runs at the destination. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import type { LiveGuest } from "../../migration/guest.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { cannotGoOn, goesOn, ranThere, undecided } from "../outgoing/fate.ts";
import { untilAborted } from "../outgoing/answers.ts";
import {
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
  PING,
} from "../sending/control_stream.ts";
import { compressionSettings } from "../compression/compression_settings.ts";
import type { PostcopyPolicy } from "./convergence.ts";
import { type LiveRegion, streamMachine } from "./live_region.ts";
import { LiveState } from "./live_state.ts";
import { type LiveStatistics, liveStatistics } from "./live_statistics.ts";
import { Outgoing } from "../outgoing/outgoing.ts";
import { saveGuest } from "./saved_guest.ts";
import type { OutgoingOptions } from "../outgoing/outgoing_options.ts";
import type { PrecopyInit, PrecopyMessage } from "./precopy_sender.ts";
import type { SourceStatus } from "../outgoing/statistics.ts";

/** How to migrate a running guest. */
export interface LiveSourceOptions extends OutgoingOptions {
  /** What may end precopy by a switch to postcopy; default `"auto"`: when it does not converge. */
  readonly postcopy?: PostcopyPolicy;
  /** Milliseconds that the guest may stand still when precopy ends; default 300, as QEMU's. */
  readonly downtimeLimit?: number;
  /** Bytes a second of precopy; default 0, no limit. */
  readonly maxBandwidth?: number;
  /** Cancels the migration as {@linkcode LiveSource.cancel} does. */
  readonly signal?: AbortSignal;
}

const DEFAULT_DOWNTIME_LIMIT = 300;
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
  readonly #postcopy: PostcopyPolicy;
  readonly #live = new LiveState();
  readonly #sent: PageBitmap;
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
  #status: SourceStatus = "setup";
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
   */
  constructor(
    region: LiveRegion,
    guest: LiveGuest,
    options: LiveSourceOptions,
    precopyThread: URL = new URL("./precopy_worker.ts", import.meta.url),
  ) {
    checkOptions(options);
    this.#region = region;
    this.#guest = guest;
    this.#options = options;
    this.#postcopy = options.postcopy ?? "auto";
    const { layout, machine, blocks } = region;
    this.#sent = new PageBitmap(layout.pageLimit);
    // A cancellation comes too late once the guest runs there, so the signal is not the channels'.
    const { signal: _, ...channels } = options;
    this.#outgoing = new Outgoing({
      layout,
      machine,
      sectionId: streamMachine(region).ramSection.id,
      live: true,
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
    return this.#status;
  }

  /** When the guest was told to stop, in monotonic nanoseconds of this host; undefined before. */
  get stoppedAt(): number | undefined {
    return this.#outgoing.times.stopped || undefined;
  }

  /** The figures so far. */
  statistics(): LiveStatistics {
    const outgoing = this.#outgoing;
    const remaining = outgoing.dirty.count();
    return liveStatistics(this.#status, outgoing, this.#live, remaining, monotonicNanoseconds());
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
      this.#status = "completed";
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
   * Cancels the migration: `run` rejects with `CANCELLED`, the guest goes on here.
   *
   * @returns false when it is too late: from the moment at which the guest's state is sent only the
   * destination's answer decides where the guest runs
   */
  cancel(): boolean {
    const { state, signal } = this.#outgoing;
    if (state.switched || signal.aborted) return false;
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
    const { signal, times } = outgoing;
    await untilAborted(this.#precopy.prepare(), signal);
    await outgoing.connect();
    const mayPostcopy = this.#postcopy !== "never";
    if (mayPostcopy) await outgoing.openPreempt(true);
    this.#status = "active";
    const machine = streamMachine(this.#region);
    await outgoing.send(encodeGreeting(machine.configuration));
    const extensions = await outgoing.agree(mayPostcopy);
    await outgoing.send(encodeOpening(machine, extensions, mayPostcopy));
    times.prepared = monotonicNanoseconds();
    this.#precopy.run(this.#precopyInit());
    this.#precopy.ended.catch((error) => outgoing.lose(error));
    const postcopy = await untilAborted(this.#switchover.promise, signal);
    if (postcopy) {
      await outgoing.obeyed(PING.PREPARED);
      await outgoing.openPreempt(false);
    }

    this.#status = "device";
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
    outgoing.state.setSwitched();
    if (postcopy) {
      this.#bringsRest = true;
      await outgoing.send(encodeSwitchover(sections));
      times.switched = monotonicNanoseconds();
      this.#status = "postcopy-active";
      return await outgoing.stream();
    }
    const description = describe(machine.targetPageSize);
    await outgoing.sendEnd(joinDeviceState({ devices: sections, description }));
    await outgoing.heard;
    times.loaded = monotonicNanoseconds();
  }

  #precopyInit(): PrecopyInit {
    const { layout, blocks } = this.#region;
    const { maxBandwidth = 0, downtimeLimit = DEFAULT_DOWNTIME_LIMIT } = this.#options;
    return {
      ...this.#outgoing.senderInit(),
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
    const { signal, state, dirty, times } = this.#outgoing;
    const cancelled = signal.aborted && signal.reason instanceof MigrationError &&
      signal.reason.code === "CANCELLED";
    await this.#end();
    // Only now has the destination been heard to its end: what it had confirmed holds.
    if (state.guestLoaded && !this.#bringsRest) { // it has everything
      times.loaded ||= times.ended;
      this.#status = "completed";
      return undefined;
    }
    if (state.guestLoaded) {
      this.#status = "failed";
      return ranThere(error, dirty.count());
    }
    this.#status = cancelled ? "cancelled" : "failed";
    if (state.switched && !state.peerClosed) return undecided(error);
    try {
      if (this.#stopped) await this.#guest.resume();
    } catch (cause) {
      return cannotGoOn(error, cause);
    }
    return goesOn(error);
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

function checkOptions(options: LiveSourceOptions): void {
  const { postcopy, downtimeLimit, maxBandwidth, maxPostcopyBandwidth, stallTimeout } = options;
  if (typeof postcopy === "number" && !(Number.isInteger(postcopy) && postcopy > 0)) {
    throw new RangeError(`Rounds before postcopy must be a whole number from 1 on: ${postcopy}`);
  }
  const limits = { downtimeLimit, maxBandwidth, maxPostcopyBandwidth, stallTimeout };
  if (options.compress !== undefined) compressionSettings(options.compress);
  for (const [name, value] of Object.entries(limits)) {
    if (value !== undefined && !(value >= 0)) {
      throw new RangeError(`${name} must be a number from 0 on: ${value}`);
    }
  }
}
