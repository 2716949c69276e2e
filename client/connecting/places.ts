/** Where one destination listens, in clear or for TLS, who sees to those that connect, and its main channel. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { OwnedConnection } from "../../channel/owned_connection.ts";
import { Listener } from "../../ffi/listener.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { AllowedNetworks, EntranceRules } from "./entrance.ts";
import { IncomingChannels, type IncomingMain, type OnMultifd } from "./incoming_channels.ts";
import type { Ending } from "./late_source.ts";
import { MOST_LISTENERS } from "./listeners.ts";
import { OtherDoors } from "./other_doors.ts";
import type { IncomingConnections } from "./preempt_door.ts";
import { Reception } from "./reception.ts";
import type { SentAway } from "./sent_away.ts";

/** Who may connect, and how. */
export interface PlacesOptions {
  /** Milliseconds without a sign of life after which whoever connects counts as gone. */
  readonly stallTimeout: number;
  /** Where those are counted who said nothing, or too little. */
  readonly sentAway: SentAway;
  /** Of which TLS sessions are made, open until all is closed; absent: in clear. */
  readonly context: TlsContext | undefined;
  /** Whose hosts may connect; absent: any. */
  readonly allowed: AllowedNetworks | undefined;
  readonly pool: ThreadPool;
  /** Told of a connection that was refused, and why. */
  readonly onRefused: (reason: string, others: number) => void;
}

/**
 * Owns the listening sockets and the main channel; tasks use their descriptors until they have ended. How the main
 * channel ends is for who receives.
 */
export abstract class Places {
  readonly #options: PlacesOptions;
  readonly #listeners: Listener[] = [];
  readonly #elsewhere: OtherDoors;
  readonly #reception: Reception | undefined;
  /** Takes channels of multifd; to be set before it listens. */
  onMultifd: OnMultifd = () => false;
  #channels: IncomingChannels | undefined;
  #main: IncomingMain | undefined;

  /** @param options who may connect, and how */
  constructor(options: PlacesOptions) {
    this.#options = options;
    const { context, pool, stallTimeout, sentAway, allowed, onRefused } = options;
    this.#elsewhere = new OtherDoors(stallTimeout);
    if (context === undefined) return;
    this.#reception = new Reception({
      ...{ context, pool, stallTimeout, allowed },
      sentAway: sentAway.shared,
      onRefused: ({ reason, others }) => onRefused(reason, others),
    });
  }

  /** What a task that accepts must know beside a descriptor. */
  get rules(): EntranceRules {
    const { allowed } = this.#options;
    if (this.#reception !== undefined) return this.#reception.rules;
    return allowed === undefined ? {} : { allowed };
  }

  /** True once it listens. */
  get listening(): boolean {
    return this.#channels !== undefined;
  }

  /** The main channel, once there is one. */
  get main(): ConnectionInit {
    return this.#main!.connection;
  }

  /** The main channel's owner; undefined as long as there is none. */
  protected get owned(): OwnedConnection | undefined {
    return this.#main?.owned;
  }

  /** The connections of the first place; undefined until it listens there. */
  protected get channels(): IncomingChannels | undefined {
    return this.#channels;
  }

  /** Where it listens. */
  get addresses(): readonly SocketAddress[] {
    return this.#listeners.map(({ address }) => address);
  }

  /**
   * Listens, for the first time.
   *
   * @returns where, with the port the kernel chose
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    const listener = await this.#open(address);
    this.#listeners.push(listener);
    const { stallTimeout, sentAway } = this.#options;
    const onRefused = (reason: string) => this.#options.onRefused(reason, 0);
    this.#reception?.listen(listener.fd);
    const entrance = this.#reception?.entrance ?? { ...this.rules, fd: listener.fd };
    const name = formatSocketAddress(listener.address);
    this.#channels = new IncomingChannels(entrance, name, {
      ...{ stallTimeout, sentAway, onRefused },
      onMultifd: (owned, connection) => this.onMultifd(owned, connection),
    });
    return listener.address;
  }

  /** Waits for the first main channel; rejects when everybody is refused first. */
  async accept(): Promise<ConnectionInit> {
    this.#main = await this.#channels!.main;
    return this.#main.connection;
  }

  /** Takes another main channel: nobody uses the old one any more. */
  replaceMain({ head: _taken, ...connection }: ConnectionInit): ConnectionInit {
    const { stallTimeout } = this.#options;
    const owned = new OwnedConnection(connection, "a source that resumes", stallTimeout);
    this.owned?.close();
    this.#main = { owned, connection };
    return connection;
  }

  /**
   * Sees that it listens at an address, beside where it does already.
   *
   * @param address where; absent: where it does already
   * @param take called with the descriptor of a new listening socket, where a task accepts that has no
   * other; the socket is closed when it throws
   * @returns where, with the port the kernel chose
   * @throws {MigrationError} when there are too many
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listenAlso(
    address: SocketAddress | undefined,
    take: (fd: number) => void,
  ): Promise<SocketAddress> {
    const wanted = formatSocketAddress(address ?? this.#listeners[0]!.address);
    const known = this.addresses.find((place) => formatSocketAddress(place) === wanted);
    if (known !== undefined) return known;
    if (this.#listeners.length === MOST_LISTENERS) throw this.#tooMany();
    const listener = await this.#open(address!);
    try {
      if (this.#reception === undefined) take(listener.fd);
      else this.#reception.listen(listener.fd);
    } catch (error) {
      listener.close();
      throw error;
    }
    this.#listeners.push(listener);
    if (this.#reception === undefined) {
      const name = formatSocketAddress(listener.address);
      this.#elsewhere.add({ ...this.rules, fd: listener.fd }, name);
    }
    return listener.address;
  }

  /** From here on a task accepts: see {@linkcode IncomingChannels.handOver}. */
  handOver(): IncomingConnections {
    return this.#channels!.handOver();
  }

  /** No task accepts anywhere any more: see {@linkcode IncomingChannels.takeBack}. */
  takeBack(ending?: Ending): void {
    this.#channels?.takeBack(ending);
    this.#elsewhere.takeBack(ending);
  }

  /** Accepts no more, and closes who was not given out. No task accepts any more. */
  protected async closePlaces(): Promise<void> {
    await this.#channels?.close();
    await this.#elsewhere.close();
    await this.#reception?.close();
    for (const listener of this.#listeners) listener.close();
  }

  #open(address: SocketAddress): Promise<Listener> {
    const { stallTimeout } = this.#options;
    return Listener.listen(address, { stallTimeout });
  }

  #tooMany(): MigrationError {
    const places = this.addresses.map(formatSocketAddress);
    return new MigrationError(
      "CANCELLED",
      `Destination listens at ${places.length} places already, use one of them: ${
        places.join(", ")
      }`,
    );
  }
}
