/** Channels of multifd as a receiver meets them, whether it expects some or not. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { OwnedConnection } from "../../channel/owned_connection.ts";
import {
  MultifdChannels,
  type MultifdChannelsOptions,
  type SharedRounds,
} from "./multifd_channels.ts";
import { UnexpectedChannels } from "./unexpected.ts";

/** Whose they are, and who hears of them. */
export interface MultifdArrivalsOptions<P> extends Omit<MultifdChannelsOptions<P>, "channels"> {
  /** How many are expected; undefined: none. */
  readonly channels: number | undefined;
  /** Bytes received on the main channel so far. */
  readonly mainBytes: () => number;
}

/** Takes those that are expected, and sends others away, of which the source may have to be told. */
export class MultifdArrivals<P> {
  readonly #expected: MultifdChannels<P> | undefined;
  readonly #unexpected: UnexpectedChannels;

  /**
   * @param options whose they are
   * @throws {RangeError} for a number of channels that cannot be
   */
  constructor(options: MultifdArrivalsOptions<P>) {
    const { channels } = options;
    this.#unexpected = new UnexpectedChannels(options);
    if (channels !== undefined) this.#expected = new MultifdChannels({ ...options, channels });
  }

  /** For the task that reads the main channel. */
  get rounds(): { readonly multifd?: SharedRounds } {
    return this.#expected === undefined ? {} : { multifd: this.#expected.rounds };
  }

  /** Bytes received on them; undefined where none are expected. */
  get bytes(): number | undefined {
    return this.#expected?.bytes;
  }

  /** True when all have come. */
  get complete(): boolean {
    return this.#expected?.complete ?? true;
  }

  /** {@linkcode MultifdChannels.prepare}. */
  async prepare(): Promise<void> {
    await this.#expected?.prepare();
  }

  /** {@linkcode MultifdChannels.take}. */
  take(owned: OwnedConnection, connection: ConnectionInit): boolean {
    if (this.#expected !== undefined) return this.#expected.take(owned, connection);
    this.#unexpected.meet();
    return false;
  }

  /** {@linkcode MultifdChannels.open}. */
  open(place: P, targetPageSize: number): void {
    this.#expected?.open(place, targetPageSize);
  }

  /** The migration is over, or pages come on demand: none is waited for any more. */
  over(): void {
    this.#unexpected.stop();
  }

  /** {@linkcode UnexpectedChannels.explain}. */
  explain(error: unknown): unknown {
    return this.#unexpected.explain(error);
  }

  /** {@linkcode MultifdChannels.stop}. */
  async stop(): Promise<void> {
    await this.#expected?.stop();
  }

  /** {@linkcode MultifdChannels.close}. */
  close(): void {
    this.#expected?.close();
  }
}
