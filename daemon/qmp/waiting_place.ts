/** Where a QEMU listens for a guest, at first and again whenever its connection broke. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import { listeningAt, type MigrationInfo } from "./migration_info.ts";
import type { Monitor } from "./monitor.ts";
import { addressHere, type MonitorPath } from "./monitor_path.ts";
import { type PrivateSocket, PrivateSockets } from "./private_sockets.ts";

/** Where QEMU listens next. */
export interface Place {
  /** What it is told. */
  readonly uri: string;
  /** By what it is reached; a port of 0 is the one that it chooses. */
  readonly to: SocketAddress;
}

/** What was said. */
export interface PlaceArguments {
  /** The monitor's address. */
  readonly qmp: SocketAddress;
  /** Where QEMU is to listen. */
  readonly listen: SocketAddress | undefined;
  /** By what it is reached there, where that is another. */
  readonly to: SocketAddress | undefined;
}

/**
 * Sees that an address can be found.
 *
 * @throws {UsageError} when it has to be said
 */
export function checkPlace({ qmp, listen, to }: PlaceArguments): void {
  if (listen === undefined && qmp.transport === "tcp") {
    throw new UsageError(
      `No address where QEMU listens, which may be on another host: ${
        formatSocketAddress(qmp)
      }: say ` +
        "where by --listen-uri tcp:0.0.0.0:4444",
    );
  }
  if (listen === undefined && to !== undefined) {
    throw new UsageError(
      `--to ${
        formatSocketAddress(to)
      } without --listen-uri: it says by what an address is reached where ` +
        "QEMU listens: say that too, or leave it out",
    );
  }
}

/** Ports among which one is taken where QEMU cannot be asked which it chose (IANA's dynamic ports). */
const FIRST_FREE = 49_152;
const PORTS = 65_536 - FIRST_FREE;

/** Addresses for one QEMU. */
export class WaitingPlace implements Disposable {
  readonly #said: PlaceArguments;
  readonly #sockets: PrivateSockets | undefined;

  private constructor(said: PlaceArguments, sockets: PrivateSockets | undefined) {
    this.#said = said;
    this.#sockets = sockets;
  }

  /**
   * Finds a place: the address that was said, or a socket that is private.
   *
   * @param monitor names of QEMU's monitor, when that is a file
   * @throws {MonitorError} `UNFIT` when none can be made
   */
  static async find(said: PlaceArguments, monitor: MonitorPath | undefined): Promise<WaitingPlace> {
    if (said.listen !== undefined || monitor === undefined) {
      return new WaitingPlace(said, undefined);
    }
    return new WaitingPlace(said, await PrivateSockets.make(monitor.ours, monitor.theirs));
  }

  /**
   * The place of a QEMU that listens already.
   *
   * @param listening where, in its words
   */
  static at(
    listening: SocketAddress,
    { qmp, to }: PlaceArguments,
    monitor: MonitorPath | undefined,
  ): WaitingPlace {
    const here = addressHere(listening, monitor);
    const said = { qmp, listen: listening, to: to ?? (here === listening ? undefined : here) };
    if (here.transport !== "unix" || listening.transport !== "unix") {
      return new WaitingPlace(said, undefined);
    }
    return new WaitingPlace(said, PrivateSockets.of({ ours: here.path, theirs: listening.path }));
  }

  /** Where QEMU is to listen first. */
  first(): Place {
    const { listen } = this.#said;
    if (listen === undefined) return privatePlace(this.#sockets!.next());
    return { uri: formatSocketAddress(listen), to: this.#reached(listen) };
  }

  /**
   * Where it is to listen again: at the same port, unless it chose that, as nobody could ask it which it chose
   * now.
   *
   * @param elsewhere whether at another port, because it holds that one: it lets go of it only when its main loop
   * runs, which may wait for the memory that is to come
   */
  again(elsewhere = false): Place {
    const { listen, to } = this.#said;
    if (this.#sockets !== undefined) return privatePlace(this.#sockets.next());
    if (listen!.transport === "unix") return this.first();
    if (listen!.port !== 0 && (!elsewhere || to !== undefined)) return this.first();
    const port = FIRST_FREE + Math.floor(Math.random() * PORTS);
    const chosen = { ...listen!, port };
    return { uri: formatSocketAddress(chosen), to: withPort(this.#reached(chosen), port) };
  }

  /**
   * By what a QEMU that listens is reached.
   *
   * @throws {MonitorError} when it cannot be asked for its port
   */
  async reached({ to }: Place, monitor: Monitor): Promise<SocketAddress> {
    if (to.transport === "unix" || to.port !== 0) return to;
    const at = listeningAt(await monitor.execute<MigrationInfo>("query-migrate"));
    return at?.transport === "tcp" ? withPort(to, at.port) : to;
  }

  /** Leaves its socket where it is: QEMU still listens there. */
  keep(): void {
    this.#sockets?.keep();
  }

  /** Removes what was made. */
  [Symbol.dispose](): void {
    this.#sockets?.[Symbol.dispose]();
  }

  #reached(listen: SocketAddress): SocketAddress {
    const { qmp, to } = this.#said;
    if (to !== undefined) return to;
    if (listen.transport === "unix" || !EVERYWHERE.includes(listen.host)) return listen;
    // QEMU is where its monitor is.
    const host = qmp.transport === "tcp" ? qmp.host : "127.0.0.1";
    return { ...listen, host };
  }
}

/** Any of a host's addresses. */
const EVERYWHERE: readonly string[] = ["0.0.0.0", "::"];

function privatePlace({ ours, theirs }: PrivateSocket): Place {
  return { uri: `unix:${theirs}`, to: { transport: "unix", path: ours } };
}

function withPort(address: SocketAddress, port: number): SocketAddress {
  if (address.transport === "unix" || address.port !== 0) return address;
  return { ...address, port };
}
