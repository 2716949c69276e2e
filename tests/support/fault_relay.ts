/** A relay between two ends whose connections can be cut, stopped and sent elsewhere. */

import { libc } from "../../ffi/libc.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { shutdownSending } from "../../ffi/socket_calls.ts";

/** Bytes that are passed on together. */
const PIECE = 65_536;
// From include/uapi/asm-generic/socket.h: closed with a linger time of 0, a socket sends a reset.
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const NO_LINGER = new Uint8Array(new Int32Array([1, 0]).buffer);

/** A direction, or both: `onward` is from the source to the destination. */
export type Way = "onward" | "back" | "both";

/** One connection through the relay. */
export class Relayed {
  readonly #ends: readonly Socket[];
  readonly #options: FaultRelayOptions;
  readonly #flows: Promise<void>[];
  #first = -1;
  #passed = 0;
  #answered = 0;
  #cutAt = Infinity;
  #cutBackAt = Infinity;
  /** The byte of which a bit is to be changed, each way. */
  readonly #flipAt = { onward: Infinity, back: Infinity };
  #flipped = false;
  #over = false;
  #awaited = Infinity;
  readonly #reached = Promise.withResolvers<void>();
  readonly #frozen: Record<Exclude<Way, "both">, PromiseWithResolvers<void> | undefined> = {
    onward: undefined,
    back: undefined,
  };

  constructor(source: Socket, destination: Socket, options: FaultRelayOptions) {
    this.#ends = [source, destination];
    this.#options = options;
    this.#flows = [
      this.#pass(source, destination, "onward"),
      this.#pass(destination, source, "back"),
    ];
    this.over().then(() => this.#close());
  }

  /** Bytes that the destination was given. */
  get passed(): number {
    return this.#passed;
  }

  /** Bytes that the source was given. */
  get answered(): number {
    return this.#answered;
  }

  /** The first byte that the source said; -1 as long as it has said none. */
  get first(): number {
    return this.#first;
  }

  /** True once a bit was changed. */
  get flipped(): boolean {
    return this.#flipped;
  }

  /** True once it was cut, or both ends have closed it. */
  get isOver(): boolean {
    return this.#over;
  }

  /** Resolves when the destination has been given so many bytes; for one who waits. */
  async hasPassed(bytes: number): Promise<void> {
    this.#awaited = bytes;
    if (this.#passed < bytes) await this.#reached.promise;
  }

  /** Passes nothing more to the destination once it has been given so many bytes; resolves then. */
  async holdAt(bytes: number): Promise<void> {
    await this.hasPassed(bytes);
    this.freeze("onward");
  }

  /** Ends it when the destination has been given so many bytes. */
  cutAt(bytes: number): void {
    this.#cutAt = bytes;
    if (this.#passed >= bytes) this.cut();
  }

  /** Ends it when the source has been given so many bytes. */
  cutBackAt(bytes: number): void {
    this.#cutBackAt = bytes;
    if (this.#answered >= bytes) this.cut();
  }

  /** Changes a bit of what goes one way: of the byte behind so many others. */
  flipAt(bytes: number, way: Exclude<Way, "both">): void {
    this.#flipAt[way] = bytes;
  }

  /** Ends it now. */
  cut(): void {
    if (this.#options.resets && !this.#over) {
      for (const { fd } of this.#ends) {
        libc().setsockopt(fd, SOL_SOCKET, SO_LINGER, NO_LINGER, NO_LINGER.length);
      }
    }
    this.#close();
  }

  /** Nothing is passed on that way from now on; both ends stay connected. */
  freeze(way: Way = "both"): void {
    if (way !== "back") this.#frozen.onward ??= Promise.withResolvers();
    if (way !== "onward") this.#frozen.back ??= Promise.withResolvers();
  }

  /** Goes on. */
  thaw(): void {
    for (const way of ["onward", "back"] as const) {
      this.#frozen[way]?.resolve();
      this.#frozen[way] = undefined;
    }
  }

  /** Resolves when both directions have ended. */
  async over(): Promise<void> {
    await Promise.all(this.#flows);
  }

  async #pass(from: Socket, to: Socket, way: "onward" | "back"): Promise<void> {
    const buffer = new Uint8Array(PIECE);
    const onward = way === "onward";
    try {
      for (let count: number; (count = await from.receive(buffer)) > 0;) {
        if (onward && this.#first < 0) this.#first = buffer[0]!;
        await this.#frozen[way]?.promise;
        const left = onward ? this.#cutAt - this.#passed : this.#cutBackAt - this.#answered;
        const most = Math.min(count, left);
        this.#flip(buffer.subarray(0, most), way);
        await to.sendAll(buffer.subarray(0, most));
        this.#options.onPassed?.(buffer.subarray(0, most), way, this);
        if (onward) this.#passed += most;
        else this.#answered += most;
        if (this.#passed >= this.#awaited) this.#reached.resolve();
        if (this.#passed >= this.#cutAt || this.#answered >= this.#cutBackAt) return this.cut();
      }
      // The other direction may still bring what was said before.
      await this.#frozen[way]?.promise;
      shutdownSending(to.fd);
    } catch {
      this.cut(); // broken
    }
  }

  #flip(bytes: Uint8Array, way: "onward" | "back"): void {
    const at = this.#flipAt[way] - (way === "onward" ? this.#passed : this.#answered);
    if (at < 0 || at >= bytes.length) return;
    bytes[at]! ^= 1 << (this.#flipAt[way] & 7);
    this.#flipped = true;
  }

  #close(): void {
    this.#over = true;
    for (const end of this.#ends) end.close();
    this.thaw();
  }
}

/** How a relay treats its connections. */
export interface FaultRelayOptions {
  /**
   * Whether those that are cut are reset, as by a network that breaks; default false: they are closed, as by
   * a tunnel that ends, whether all that went into it came out or not.
   */
  readonly resets?: boolean;
  /** Called with what was passed on; it is only there until this returns. */
  readonly onPassed?: (bytes: Uint8Array, way: "onward" | "back", connection: Relayed) => void;
}

/**
 * Listens at a port of the loopback and passes each connection on to a destination, in the order in which
 * they come: of a migration first the main channel, then the preempt channel.
 */
export class FaultRelay implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #options: FaultRelayOptions;
  readonly #connections: Relayed[] = [];
  readonly #next: ((connection: Relayed) => void)[] = [];
  readonly #waiters: { readonly count: number; readonly resolve: () => void }[] = [];
  readonly #serving: Promise<void>;
  #to: SocketAddress;
  #closed = false;

  private constructor(listener: Listener, to: SocketAddress, options: FaultRelayOptions) {
    this.#listener = listener;
    this.#options = options;
    this.#to = to;
    this.#serving = this.#serve();
  }

  /** @param to where connections are passed on */
  static async start(to: SocketAddress, options: FaultRelayOptions = {}): Promise<FaultRelay> {
    const listener = await Listener.listen({ transport: "tcp", host: "127.0.0.1", port: 0 });
    return new FaultRelay(listener, to, options);
  }

  /** Where to connect instead. */
  get address(): SocketAddress {
    return this.#listener.address;
  }

  /** The same for a command line. */
  get uri(): string {
    return `tcp:127.0.0.1:${(this.address as { port: number }).port}`;
  }

  /** Connections that came so far, those that have ended included. */
  get connections(): readonly Relayed[] {
    return this.#connections;
  }

  /** From now on connections are passed on there. */
  redirect(to: SocketAddress): void {
    this.#to = to;
  }

  /** Has something done with the next connection that comes; several are for those that follow. */
  next(act: (connection: Relayed) => void): void {
    this.#next.push(act);
  }

  /** Resolves when so many connections have come. */
  async came(count: number): Promise<void> {
    if (this.#connections.length >= count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ count, resolve });
    await promise;
  }

  /** Cuts all connections that there are. */
  cut(): void {
    for (const connection of this.#connections) connection.cut();
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#listener.close();
    this.cut();
    await this.#serving;
    await Promise.all(this.#connections.map((connection) => connection.over()));
  }

  async #serve(): Promise<void> {
    while (true) {
      const source = await this.#listener.accept().catch(() => undefined);
      if (source === undefined) return; // closed
      const destination = await Socket.connect(this.#to).catch(() => undefined);
      if (destination === undefined) {
        source.close();
        continue;
      }
      const connection = new Relayed(source, destination, this.#options);
      this.#connections.push(connection);
      if (this.#closed) return connection.cut();
      this.#next.shift()?.(connection);
      for (const { count, resolve } of this.#waiters) {
        if (this.#connections.length >= count) resolve();
      }
    }
  }
}
