/** The source side of a migration of an image: a machine at rest, which runs at the destination first. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import { withAdvice, withLoss } from "./outgoing/fate.ts";
import { compressionSettings } from "./compression/compression_settings.ts";
import {
  encodeDiscards,
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
  PING,
  wholeDiscards,
} from "./sending/control_stream.ts";
import type { Image } from "../image/image.ts";
import { Outgoing } from "./outgoing/outgoing.ts";
import type { OutgoingOptions } from "./outgoing/outgoing_options.ts";
import {
  type SourceStatistics,
  sourceStatistics,
  type SourceStatus,
} from "./outgoing/statistics.ts";

/** How to migrate. */
export type SourceOptions = OutgoingOptions;

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
  #migration: Promise<void> | undefined;
  #status: SourceStatus = "setup";

  /**
   * Prepares a migration; nothing is connected before {@linkcode Source.run}.
   *
   * @param image an open image, which must stay open until the source is closed
   * @param options how to migrate
   * @throws {RangeError} for a compression that cannot be
   */
  constructor(image: Image, options: SourceOptions) {
    if (options.compress !== undefined) compressionSettings(options.compress);
    this.#image = image;
    this.#options = options;
    const { layout, pages, machine, ramSection } = image;
    const memory = { layout, pages, machine, sectionId: ramSection.id, live: false };
    this.#outgoing = new Outgoing(memory, options);
  }

  /** Where the migration stands. */
  get status(): SourceStatus {
    return this.#status;
  }

  /** The figures so far. */
  statistics(): SourceStatistics {
    const outgoing = this.#outgoing;
    const remaining = outgoing.dirty.count();
    return sourceStatistics(this.#status, outgoing, remaining, monotonicNanoseconds());
  }

  /**
   * Migrates: connects, sends the device state, then every page. May be called once.
   *
   * @returns the final figures
   * @throws {MigrationError} when the destination fails, goes away, stalls or asks for nonsense
   * @throws {SyscallError} when it cannot be reached
   * @throws the signal's reason when it was cancelled
   */
  async run(): Promise<SourceStatistics> {
    const { times, state, dirty, mode } = this.#outgoing;
    if (times.started !== 0) throw new Error("A source runs once: make another");
    times.started = monotonicNanoseconds();
    try {
      this.#migration = this.#migrate(this.#outgoing);
      await this.#migration;
      this.#status = "completed";
    } catch (error) {
      const cancelled = this.#options.signal?.aborted || this.#outgoing.closed;
      this.#status = cancelled ? "cancelled" : "failed";
      throw state.guestLoaded
        ? withLoss(error, dirty.count())
        : withAdvice(error, this.#image.machine, mode, this.#options.compress);
    } finally {
      times.ended = monotonicNanoseconds();
      await this.close();
    }
    return this.statistics();
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

  async #migrate(outgoing: Outgoing): Promise<void> {
    const image = this.#image;
    await outgoing.connect();
    await outgoing.openPreempt(true);
    this.#status = "active";
    await outgoing.send(encodeGreeting(image.configuration));
    await outgoing.send(encodeOpening(image, await outgoing.agree(true)));
    await outgoing.openPreempt(false);
    this.#status = "device";
    outgoing.state.setSwitched();
    await outgoing.send(encodeDiscards(wholeDiscards(image.blocks), PING.DISCARDED));
    await outgoing.send(encodeSwitchover(image.deviceState));
    outgoing.times.switched = monotonicNanoseconds();
    outgoing.times.prepared = outgoing.times.switched;
    this.#status = "postcopy-active";
    await outgoing.stream();
  }
}
