/** The source side of a migration of an image: a machine at rest, which runs at the destination first. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import { switchoverApproved } from "./outgoing/switchover_approval.ts";
import { withAdvice, withLoss } from "./outgoing/fate.ts";
import { untilAborted } from "./outgoing/answers.ts";
import { absentExtensions, encodeExtensions, nameAbsentPages } from "./sending/absent_pages.ts";
import {
  encodeDiscards,
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
  PING,
  wholeDiscards,
} from "./sending/control_stream.ts";
import type { BlockEntry } from "../migration/protocol/ram.ts";
import { withOrder } from "./order/order_statistics.ts";
import type { PageRun } from "./order/page_run.ts";
import { SourceOrder } from "./order/source_order.ts";
import { unsentDiscards } from "./order/unsent_discards.ts";
import type { SocketAddress } from "../ffi/socket_address.ts";
import type { Image } from "../image/image.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { MemoryMap } from "../migration/memory/memory_map.ts";
import { PageBitmap } from "../migration/memory/page_bitmap.ts";
import { EXTENSION } from "../migration/protocol/extensions.ts";
import { fileOf, presentPages } from "../pages/page_locator.ts";
import { FileWatch } from "../pages/stored_file.ts";
import { noPostcopy } from "./outgoing/multifd_agreement.ts";
import { Outgoing } from "./outgoing/outgoing.ts";
import { sourceMap } from "./outgoing/source_map.ts";
import { encodeEnd } from "./sending/run_state.ts";
import { roundToHostPages } from "./live/dirty_runs.ts";
import { checkSourceOptions, type SourceOptions, uuidOf } from "./source_options.ts";
import {
  type SourceStatistics,
  sourceStatistics,
  type SourceStatus,
} from "./outgoing/statistics.ts";

export type { SourceOptions };

/**
 * One outgoing migration of an image. Its state is its own: a process may run several at once, also
 * of the same image.
 *
 * @example
 * ```ts
 * import { openImage } from "../image/open_image.ts";
 * import { Source } from "./source.ts";
 * import { parseSocketAddress } from "../ffi/socket_address.ts";
 *
 * async function serve(path: string, to: string): Promise<void> {
 *   using image = await openImage(path);
 *   await using source = new Source(image, { to: parseSocketAddress(to) });
 *   const { ram } = await source.run();
 *   if (ram.remaining !== 0) throw new Error("not all sent");
 * }
 * ```
 */
export class Source implements AsyncDisposable {
  readonly #image: Image;
  readonly #options: SourceOptions;
  readonly #outgoing: Outgoing;
  readonly #check: () => void;
  readonly #order: SourceOrder;
  #migration: Promise<void> | undefined;

  /**
   * Prepares a migration; nothing is connected before {@linkcode Source.run}.
   *
   * @param image an open image, which must stay open until the source is closed
   * @param options how to migrate
   * @throws {RangeError} for a compression or a time that cannot be, or an order with pages that are not there
   * @throws {TlsError} for credentials that cannot be used
   */
  constructor(image: Image, options: SourceOptions) {
    checkSourceOptions(options);
    this.#image = image;
    this.#options = options;
    const { layout, pages, machine, ramSection } = image;
    const watch = new FileWatch(fileOf(pages));
    this.#check = () => watch.check();
    this.#order = new SourceOrder(layout, options);
    const order = this.#order.init;
    const memory = {
      layout,
      pages,
      machine,
      ...uuidOf(image),
      sectionId: ramSection.id,
      live: false,
      check: this.#check,
      ...order === undefined ? {} : { order },
    };
    this.#outgoing = new Outgoing(memory, options);
  }

  /** Where the migration stands. */
  get status(): SourceStatus {
    return this.#outgoing.status;
  }

  /** Why the migration is paused, if it is. */
  get pauseReason(): Error | undefined {
    return this.#outgoing.pauseReason;
  }

  /**
   * True when the guest may run at the destination, which needs this source then. One that goes on for
   * another knows nothing of it before it has connected.
   */
  get guestMayRun(): boolean {
    const { state, times } = this.#outgoing;
    return state.switched && times.ended === 0 && times.connected !== 0;
  }

  /**
   * True while, or when in the end, the guest cannot have run at the destination: it was not handed over, or
   * the destination says, or shows by its absence, that it did not take it.
   */
  get ranNowhere(): boolean {
    return !this.#outgoing.state.switched || this.#outgoing.runsNowhere;
  }

  /** The figures so far. */
  statistics(): SourceStatistics {
    const outgoing = this.#outgoing;
    const now = monotonicNanoseconds();
    return withOrder(
      sourceStatistics(outgoing.status, outgoing, this.#remaining, now),
      this.#order.plan,
    );
  }

  /**
   * What the destination has asked for so far, each page once, in the order in which it was asked for first: an
   * order for the next restore. Nothing unless the option `noteRequests` is on.
   */
  requested(): Iterable<Required<PageRun>> {
    return this.#order.requested();
  }

  /**
   * Pages of the option `order` that were sent before the guest ran: that it does not ask for them says nothing of
   * whether it touches them.
   */
  sentEarly(): Iterable<Required<PageRun>> {
    return this.#order.sentEarly();
  }

  /** Where its pages are, in 1 to 65536 parts of the memory; what was asked for with `noteRequests` alone. */
  memoryMap(cells: number): MemoryMap {
    const { dirty, layout } = this.#outgoing;
    return sourceMap(layout, { dirty, present: this.#present, asked: this.#order.asked() }, cells);
  }

  /**
   * Migrates: connects, sends the device state, then every page. May be called once. A connection that breaks
   * when the guest may run at the destination only pauses it: it is tried to connect again until that works.
   *
   * @returns the final figures
   * @throws {MigrationError} when the destination fails, goes away, stalls or asks for nonsense
   * @throws {MigrationError} `TLS_FAILED` when one end does not accept the other, before the guest is there
   * @throws {MigrationError} `IMAGE_CHANGED`, `IMAGE_UNREADABLE` when the image is not what it was any more
   * @throws {SyscallError} when it cannot be reached
   * @throws the signal's reason when it was cancelled
   */
  async run(): Promise<SourceStatistics> {
    const { times, state, mode } = this.#outgoing;
    if (times.started !== 0) throw new Error("A source runs once: make another");
    times.started = monotonicNanoseconds();
    try {
      this.#migration = this.#options.recover ? this.#recover() : this.#migrate(this.#outgoing);
      await this.#migration;
      this.#outgoing.setStatus("completed");
    } catch (error) {
      const cancelled = this.#options.signal?.aborted || this.#outgoing.closed;
      this.#outgoing.setStatus(cancelled ? "cancelled" : "failed");
      throw state.guestLoaded && !this.#outgoing.runsNowhere
        ? withLoss(error, this.#remaining, this.#options.again)
        : withAdvice(error, this.#image.machine, { ...this.#options, mode }, this.#refused);
    } finally {
      times.ended = monotonicNanoseconds();
      await this.close();
    }
    return this.statistics();
  }

  /**
   * Ends a precopy over multifd now: the guest runs at the destination, and the rest follows on demand. Does
   * nothing once it is over.
   *
   * @throws {MigrationError} `UNSUPPORTED` without {@linkcode SourceOptions.postcopyAfter}
   */
  startPostcopy(): void {
    if (this.#options.postcopyAfter === undefined) {
      throw new MigrationError(
        "UNSUPPORTED",
        "Cannot switch to postcopy: the destination was not told of it: migrate with postcopyAfter",
      );
    }
    this.#outgoing.link.endPrecopy();
  }

  /**
   * Changes {@linkcode SourceOptions.maxPostcopyBandwidth} while it runs; it holds within half a second.
   *
   * @param bytesPerSecond of the background stream; 0 for no limit
   * @throws {RangeError} for a bandwidth that cannot be
   */
  setMaxPostcopyBandwidth(bytesPerSecond: number): void {
    if (!(bytesPerSecond >= 0 && bytesPerSecond < Infinity)) {
      throw new RangeError(`Bandwidth must be bytes a second, 0 for no limit: ${bytesPerSecond}`);
    }
    this.#outgoing.state.maxPostcopyBandwidth = bytesPerSecond;
  }

  /**
   * Breaks the connection of a migration that has switched to postcopy, as QEMU's `migrate-pause` does. It
   * goes on when {@linkcode Source.recover} is called.
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
   * Ends its tasks and connections; a migration under way rejects with `CANCELLED`. Closing again
   * does nothing.
   */
  close(): Promise<void> {
    return this.#outgoing.close(this.#migration);
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Pages to be sent; of those that the image never held a QEMU is sent what it asks for. */
  get #remaining(): number {
    const { dirty, state } = this.#outgoing;
    const present = this.#present;
    return present === undefined || state.peerOurs ? dirty.count() : dirty.countIn(present);
  }

  /** The pages that the image holds; undefined when it holds all. */
  get #present(): PageBitmap | undefined {
    const present = presentPages(this.#image.pages);
    return present && new PageBitmap(this.#outgoing.dirty.length, present);
  }

  /** The blocks, if the destination had answered, and went away before it had taken them. */
  get #refused(): readonly BlockEntry[] | undefined {
    const { link, state } = this.#outgoing;
    if (state.switched || !link.answers.has(PING.RETURN_PATH)) return undefined;
    return link.answers.has(PING.CHANNELS) ? undefined : this.#image.blocks;
  }

  /** Lets the owner get ready while the destination is greeted. */
  #beforeRun(): Promise<void> {
    const { signal } = this.#outgoing.link;
    const ready = untilAborted(Promise.try(() => this.#options.beforeRun?.()), signal);
    ready.catch(() => {}); // the greeting may fail first
    return ready;
  }

  async #migrate(outgoing: Outgoing): Promise<void> {
    const image = this.#image;
    const { link } = outgoing;
    this.#check();
    await outgoing.connect();
    const ready = this.#beforeRun();
    await outgoing.openPreempt("connected");
    outgoing.setStatus("active");
    await link.send(encodeGreeting(image.configuration));
    const precopies = outgoing.multifd !== undefined;
    const postcopy = !precopies || this.#options.postcopyAfter !== undefined;
    const extensions = await outgoing.agree(postcopy);
    if (postcopy && !outgoing.mayPostcopy) {
      throw noPostcopy(image.machine, "leave --postcopy-after out");
    }
    const { marksRecords: multifdRecords } = outgoing;
    await link.send(encodeOpening(image, extensions, { postcopy, multifdRecords }));
    const mayRun = Promise.all([ready, switchoverApproved(link, image.machine, this.#options)]);
    mayRun.catch(() => {}); // the link may fail first
    if (postcopy) await outgoing.openPreempt("opened");
    // Nobody is handed a guest who was never heard: a connection that takes all may lead nowhere.
    if (precopies) {
      await link.obeyed(PING.RETURN_PATH);
      if (await this.#precopy(mayRun)) return;
    } else await this.#sendEarly();
    await outgoing.openPreempt("switching");
    await link.obeyed(PING.RETURN_PATH);
    const absent = precopies ? undefined : this.#absentExtensions;
    await mayRun;
    this.#check(); // the last look before the guest may run there
    outgoing.setStatus("device");
    const discards = this.#sentEarly || precopies
      ? unsentDiscards(image.layout, outgoing.dirty)
      : wholeDiscards(image.blocks);
    await link.send(encodeDiscards(discards, PING.DISCARDED));
    await this.#nameAbsent(absent);
    await outgoing.postcopy(async () => {
      await link.send(encodeSwitchover(image.deviceState));
      outgoing.times.switched = monotonicNanoseconds();
      outgoing.times.prepared ||= outgoing.times.switched;
    });
  }

  /**
   * Sends all pages over multifd, and the guest when that is done.
   *
   * @param mayRun settles when the guest may run there
   * @returns false when the rest is to follow on demand
   */
  async #precopy(mayRun: Promise<unknown>): Promise<boolean> {
    const { link, times, dirty } = this.#outgoing;
    const { postcopyAfter = Infinity } = this.#options;
    times.prepared = times.pages = monotonicNanoseconds();
    const timer = postcopyAfter === Infinity
      ? undefined
      : setTimeout(() => link.endPrecopy(), postcopyAfter);
    const sent = await link.sendFirst().finally(() => clearTimeout(timer));
    await mayRun;
    if (sent === "early-sent") {
      roundToHostPages(this.#image.layout, dirty);
      return false;
    }
    this.#check(); // the last look before the guest may run there
    this.#outgoing.setStatus("device");
    times.switched = monotonicNanoseconds();
    await this.#outgoing.sendEnd(encodeEnd(this.#image));
    times.loaded ||= monotonicNanoseconds();
    return true;
  }

  /**
   * By what a destination of ours is told which pages it never gets; undefined when it is not. It has answered
   * a PING, and so has listed what it understands.
   */
  get #absentExtensions(): readonly string[] | undefined {
    if (presentPages(this.#image.pages) === undefined) return undefined;
    return absentExtensions(this.#outgoing.link.answers.extensions);
  }

  get #sentEarly(): boolean {
    return (this.#order.plan?.warm ?? 0) > 0;
  }

  /**
   * Sends the head of the order, before the second channel is proven: the guest finds it in place when it runs. Not
   * to a destination of ours that takes the names of absent pages only before the first page.
   */
  async #sendEarly(): Promise<void> {
    const { link, state } = this.#outgoing;
    const { plan, warm } = this.#order;
    if (plan === undefined || plan.early === 0 || warm === 0) return;
    await link.obeyed(PING.RETURN_PATH);
    const absent = this.#absentExtensions;
    if (absent?.includes(EXTENSION.ABSENT_BEHIND_PAGES) === false) return;
    // Until its first discard a QEMU has the kernel make a huge page, cleared, around each page that comes: of
    // some hundred that lie scattered that takes longer than sending them.
    if (!state.peerOurs) await link.send(encodeDiscards(wholeDiscards(this.#image.blocks)));
    if (absent !== undefined) await link.send(encodeExtensions(absent));
    await link.sendFirst({ milliseconds: warm, passesOver: absent !== undefined });
  }

  /** Tells a destination of ours which pages it never gets. */
  async #nameAbsent(extensions: readonly string[] | undefined): Promise<void> {
    if (extensions === undefined) return;
    const { link, dirty, layout } = this.#outgoing;
    const present = this.#present!;
    // What came before the first page is not said again behind it.
    const said = this.#sentEarly ? [] : [EXTENSION.ABSENT_PAGES];
    for (const bytes of nameAbsentPages(layout, present, dirty, said)) await link.send(bytes);
  }

  /** The guest runs at the destination since another source sent it there. */
  async #recover(): Promise<void> {
    const { state, times } = this.#outgoing;
    state.setSwitched();
    state.setGuestLoaded();
    state.setPeerOurs(); // it cannot be asked any more: it gets every page
    times.switched = times.prepared = monotonicNanoseconds();
    await this.#outgoing.resume();
  }
}
