/** The channels of multifd of one migration, as its control plane holds them. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { OwnedConnection } from "../../channel/owned_connection.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { MAX_MULTIFD_CHANNELS } from "../../migration/protocol/multifd.ts";
import type { PoolTask, TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { MultifdChannelInit, MultifdHello } from "./multifd_channel.ts";
import { MAIN, Rounds } from "./rounds.ts";

/**
 * Milliseconds for which a source's channels may come after its main one has said what its memory is. A source
 * connects all of them before it sends a page, and waits for no answer.
 */
export const CHANNELS_WAIT = 10_000;

/** The rounds, for the task that reads the main channel. */
export interface SharedRounds {
  readonly buffer: SharedArrayBuffer;
  readonly channels: number;
}

/** Whose channels, and who hears of them; `P` is what a task needs to know of where the pages go. */
export interface MultifdChannelsOptions<P> {
  /** How many the source opens: its parameter `multifd-channels`. */
  readonly channels: number;
  readonly pool: ThreadPool;
  readonly kind: TaskKind<MultifdTaskInit<P>, MultifdHello>;
  /** Wakes the task that reads the main channel; open until all are closed. */
  readonly mainWakeFd: number;
  /** Called when all of them are here. */
  readonly onComplete?: () => void;
  /** Called when one breaks, or the source and this end do not agree: the migration cannot go on. */
  readonly onFail: (error: Error) => void;
}

/** What a task is made from: the channel, and where its pages go. */
export interface MultifdTaskInit<P> {
  readonly channel: MultifdChannelInit;
  readonly place: P;
}

/** A channel that has come. */
interface Channel<P> {
  readonly owned: OwnedConnection;
  readonly connection: ConnectionInit;
  readonly wake: Eventfd;
  readonly task: PoolTask<MultifdTaskInit<P>, MultifdHello>;
  hello?: MultifdHello;
}

/**
 * Checks a number of channels.
 *
 * @throws {RangeError} for one that no QEMU has
 */
export function checkMultifdChannels(channels: number): number {
  if (Number.isInteger(channels) && channels >= 1 && channels <= MAX_MULTIFD_CHANNELS) {
    return channels;
  }
  throw new RangeError(`Multifd channels are 1 to ${MAX_MULTIFD_CHANNELS}: ${channels}`);
}

/** Takes them as they come, before or after the main channel, and runs a task for each. */
export class MultifdChannels<P> {
  readonly #options: MultifdChannelsOptions<P>;
  readonly #rounds: Rounds;
  /** A task for each that is to come. */
  readonly #tasks: readonly PoolTask<MultifdTaskInit<P>, MultifdHello>[];
  readonly #channels: Channel<P>[] = [];
  #opened: { readonly place: P; readonly targetPageSize: number } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  /**
   * @param options whose they are
   * @throws {RangeError} for a number of channels that cannot be
   */
  constructor(options: MultifdChannelsOptions<P>) {
    this.#options = options;
    const { channels, pool, kind } = options;
    this.#rounds = new Rounds(checkMultifdChannels(channels));
    this.#rounds.join(MAIN, options.mainWakeFd);
    this.#tasks = Array.from({ length: channels }, (_, index) => {
      const task = pool.task(kind, (hello) => this.#meet(this.#channels[index]!, hello));
      task.ended.catch((error) => this.#failWith(error));
      return task;
    });
  }

  /** For the task that reads the main channel. */
  get rounds(): SharedRounds {
    const { buffer, channels } = this.#rounds;
    return { buffer, channels };
  }

  /** Bytes received on them. */
  get bytes(): number {
    return this.#rounds.bytes;
  }

  /** True when all have come. */
  get complete(): boolean {
    return this.#channels.length === this.#options.channels;
  }

  /** Sees that their threads are there before the source is: it would wait for them in the midst of its pages. */
  async prepare(): Promise<void> {
    await Promise.all(this.#tasks.map((task) => task.prepare()));
  }

  /**
   * Takes a connection that turned out to be one of them; false when it is one too many.
   *
   * @param owned closed here, if it is taken
   * @param connection the same, with what came by it
   */
  take(owned: OwnedConnection, connection: ConnectionInit): boolean {
    if (this.#over) return false;
    const { channels } = this.#options;
    if (this.complete) {
      this.#fail(
        `Source opens more multifd channels than are expected here: ${channels}: set its ` +
          `multifd-channels to ${channels}, or give --multifd as many as it has`,
      );
      return false;
    }
    const task = this.#tasks[this.#channels.length]!;
    const channel: Channel<P> = { owned, connection, wake: new Eventfd(), task };
    const participant = this.#channels.push(channel);
    this.#rounds.join(participant, channel.wake.fd);
    if (this.#opened !== undefined) this.#run(channel, participant);
    if (this.complete) this.#completed();
    return true;
  }

  /**
   * The memory is known: what came is taken from here on.
   *
   * @param place where it goes
   * @param targetPageSize bytes
   */
  open(place: P, targetPageSize: number): void {
    this.#opened = { place, targetPageSize };
    this.#channels.forEach((channel, index) => this.#run(channel, index + 1));
    if (this.complete) return;
    this.#timer = setTimeout(() => this.#tooFew(), CHANNELS_WAIT);
  }

  /** Ends the tasks; resolves when they have. The migration is over, or has failed. */
  async stop(): Promise<void> {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#rounds.stop();
    await Promise.all(this.#tasks.map((task) => task.join()));
  }

  /** Closes the connections, once the tasks have ended, that of the main channel too. */
  close(): void {
    for (const { owned, wake } of this.#channels.splice(0)) {
      owned.close();
      wake.close();
    }
  }

  #run({ connection, wake, task }: Channel<P>, participant: number): void {
    const { buffer, channels } = this.#rounds;
    const { place, targetPageSize } = this.#opened!;
    task.run({
      channel: {
        connection,
        rounds: buffer,
        channels,
        participant,
        wakeFd: wake.fd,
        targetPageSize,
      },
      place,
    });
  }

  #completed(): void {
    clearTimeout(this.#timer);
    this.#options.onComplete?.();
  }

  /** A channel has said who it is. */
  #meet(channel: Channel<P>, hello: MultifdHello): void {
    const { channels } = this.#options;
    const { id, uuid } = hello;
    if (id >= channels) {
      const wanted = `0 to ${channels - 1}, see that it has multifd-channels ${channels}`;
      return this.#fail(`Source's multifd channel has another number than ${wanted}: ${id}`);
    }
    for (const { hello: other } of this.#channels) {
      if (other === undefined) continue;
      if (other.id === id) return this.#fail(`Source opens multifd channel ${id} twice`);
      if (other.uuid === uuid) continue;
      return this.#fail(
        `Multifd channels come from different machines, see that one source alone connects: ${other.uuid}, ${uuid}`,
      );
    }
    channel.hello = hello;
  }

  #tooFew(): void {
    const { channels } = this.#options;
    const { length } = this.#channels;
    const remedy = length === 0
      ? `turn the capability multifd on there, or leave --multifd out here`
      : `set its multifd-channels to ${channels}, or give --multifd ${length}`;
    this.#fail(
      `Source has opened ${length} multifd channels, and ${channels} are expected here: ${remedy}`,
    );
  }

  #fail(message: string): void {
    this.#failWith(new MigrationError("UNSUPPORTED", message));
  }

  #failWith(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#rounds.stop();
    this.#options.onFail(error);
  }
}
