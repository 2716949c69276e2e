/** Telling the connections of a migration apart: the main channel, and whatever else connects. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import { OwnedConnection } from "../../channel/owned_connection.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { peerHost } from "../../ffi/peer_host.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { type CallerFacts, callerLimit, leastLikely, mayNotBeSilent } from "./callers.ts";
import { pauseFor } from "../pause_for.ts";
import { Entrance, type EntranceInit } from "./entrance.ts";
import { type Ending, tellEnding } from "./late_source.ts";
import type { IncomingConnections } from "./preempt_door.ts";
import { SentAway } from "./sent_away.ts";

/** Milliseconds until it is tried again to accept, when there were no descriptors left. */
const FULL_INTERVAL = 10;

/** Errors of who was gone, or not allowed, before he was accepted. */
const NOBODY: readonly number[] = [Errno.EAGAIN, Errno.EINTR, Errno.ECONNABORTED];

/** A connection that is not known yet. */
interface Caller extends CallerFacts {
  readonly owned: OwnedConnection;
  readonly first: FirstBytes;
  /** Ends the wait for what it says, which must be before its descriptor is closed. */
  readonly abort: AbortController;
}

/** The main channel: what its tasks need, and what is to be closed when they have ended. */
export interface IncomingMain {
  readonly owned: OwnedConnection;
  /** With what came while it was found out who it is. */
  readonly connection: ConnectionInit;
}

/** How to accept. */
export interface IncomingChannelsOptions {
  /**
   * Milliseconds without a sign of life after which whoever connects counts as gone, and for which a connection
   * may be silent that is no preempt channel.
   */
  readonly stallTimeout: number;
  /** Counts those that were silent for longer, or were too many. */
  readonly sentAway?: SentAway;
  /** Told why somebody left who had shaken hands and said nothing: a source that does not accept this end. */
  readonly onRefused?: (reason: string) => void;
  /**
   * Told of a channel of multifd, which may come before the main one: true when it is taken, to be closed by
   * whoever took it. Default none is.
   */
  readonly onMultifd?: OnMultifd;
}

/** Takes a channel of multifd, or leaves it to be sent away. */
export type OnMultifd = (owned: OwnedConnection, connection: ConnectionInit) => boolean;

/**
 * Accepts the connections of one migration, for as long as its destination is there. The main channel is
 * the one that begins with QEMU's magic; the preempt channel has no magic and says nothing before it is
 * needed, and QEMU 7.2 opens it before the main channel has spoken; on a slow path it may be accepted, and
 * have spoken, before it. So whoever is silent is kept for a time, those that may be the preempt channel
 * until they are handed over to the {@linkcode PreemptDoor} once pages can be asked for. Whoever says
 * something else is sent away: health checks, port scanners, a second source. All wait in one epoll, however
 * many they are; see {@linkcode leastLikely} for what happens when they are too many.
 */
export class IncomingChannels implements AsyncDisposable {
  readonly #init: EntranceInit;
  readonly #entrance: Entrance;
  readonly #name: string;
  readonly #stallTimeout: number;
  readonly #limit = callerLimit();
  readonly #sentAway: SentAway;
  readonly #onRefused: ((reason: string) => void) | undefined;
  readonly #onMultifd: OnMultifd;
  readonly #main = Promise.withResolvers<IncomingMain>();
  readonly #silent: Caller[] = [];
  readonly #waits = new Set<Promise<void>>();
  /** Ends the listening on this thread. */
  #abort = new AbortController();
  /** Connections so far, and those that are being told how the migration ended. */
  #count = 0;
  #told = 0;
  #mainCaller: Caller | undefined;
  #refusing = false;
  /** What a source is told that comes to resume a migration that is over. */
  #ending: Ending | undefined;
  #handedOver = false;
  #closed = false;

  /**
   * @param entrance where the source comes in; what it is polled by stays the caller's
   * @param name where it connects, for messages
   * @param options how to accept
   */
  constructor(entrance: EntranceInit, name: string, options: IncomingChannelsOptions) {
    this.#init = entrance;
    this.#entrance = new Entrance(entrance);
    this.#name = name;
    this.#stallTimeout = options.stallTimeout;
    this.#sentAway = options.sentAway ?? new SentAway();
    this.#onRefused = options.onRefused;
    this.#onMultifd = options.onMultifd ?? (() => false);
    this.#main.promise.catch(() => {});
    this.#keep(this.#accept());
  }

  /** The main channel; the caller closes it. Rejects when closed first. */
  get main(): Promise<IncomingMain> {
    return this.#main.promise;
  }

  /** Accepts no more: from here on the fault server does. What is returned stays open until `close`. */
  handOver(): IncomingConnections {
    this.#handedOver = true;
    this.#abort.abort(new Error("Connections are accepted by the fault worker"));
    const main = this.#mainCaller;
    const order = main?.order ?? 0;
    return {
      entrance: this.#init,
      silent: this.#silent.map(({ first }) => first.connection),
      mainFd: main?.first.fd ?? -1,
      before: this.#silent.filter((caller) => caller.order < order).length,
      sentAway: this.#sentAway.shared,
    };
  }

  /**
   * The task that connections were handed over to accepts no more, or never did: whoever comes is sent away
   * from here.
   *
   * @param ending how the migration ended: a source that comes to resume it has not heard, and is told
   */
  takeBack(ending?: Ending): void {
    if (this.#closed) return;
    this.refuse();
    this.#ending ??= ending;
    this.#abort.abort();
    this.#abort = new AbortController();
    // Whoever has come and not said yet who it is may be such a source.
    const { signal } = this.#abort;
    const unknown = this.#handedOver ? [] : this.#silent.splice(0);
    for (const { owned } of unknown) this.#refuse(owned, signal);
    this.#keep(this.#accept());
  }

  /** Sends away whoever comes from here on. Those made so far stay open: another thread may know them. */
  refuse(): void {
    this.#refusing = true;
    this.#main.reject(new Error("No more connections are accepted"));
  }

  /**
   * Accepts no further connections and closes what was not given out, once nobody waits on a descriptor
   * any more. Closing again does nothing.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.refuse();
    this.#abort.abort(new Error("No more connections are accepted"));
    await Promise.all(this.#waits);
    for (const { owned } of this.#silent.splice(0)) owned.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Remembers a wait until it has ended; it never rejects. */
  #keep(wait: Promise<void>): void {
    this.#waits.add(wait);
    wait.then(() => this.#waits.delete(wait));
  }

  async #accept(): Promise<void> {
    const { signal } = this.#abort;
    try {
      while (true) {
        await waitReady(this.#entrance.fd, PollEvents.IN, `a connection at ${this.#name}`, {
          signal,
        });
        // In one turn with this look: a client taken after `handOver` would be in nobody's hands, and
        // it may be the preempt channel.
        signal.throwIfAborted();
        const owned = this.#take();
        // Others of this process hold the descriptors, and none of them tells when it lets go of one.
        if (owned === "full") await pauseFor(FULL_INTERVAL, signal);
        else if (owned === undefined) continue;
        else if (this.#refusing) this.#refuse(owned, signal);
        else this.#admit(owned, signal);
      }
    } catch (error) {
      this.#main.reject(error);
    }
  }

  #refuse(owned: OwnedConnection, signal: AbortSignal): void {
    if (this.#ending === undefined || this.#told >= this.#limit) return owned.close();
    this.#told++;
    const told = tellEnding(owned.init, this.#ending, signal);
    this.#keep(
      told.catch(() => {}).then(() => {
        this.#told--;
        owned.close();
      }),
    );
  }

  /**
   * Takes whoever has come.
   *
   * @returns undefined when there is nobody; `"full"` when no descriptor is left for him, and nobody to be sent
   * away in his favour: he waits, be it a channel of this migration or a source that has not heard how it ended
   * @throws {SyscallError} when it cannot be accepted; also for want of a descriptor as long as nobody has come
   * whose migration would wait
   */
  #take(): OwnedConnection | "full" | undefined {
    const taken = this.#entrance.take();
    if (typeof taken !== "number") {
      return new OwnedConnection(taken, `a client of ${this.#name}`, this.#stallTimeout);
    }
    if (NOBODY.includes(-taken)) return undefined;
    const full = [Errno.EMFILE, Errno.ENFILE].some((code) => code === -taken);
    const canWait = this.#refusing || this.#mainCaller !== undefined;
    const canMakeRoom = !this.#refusing && this.#silent.length > 0;
    if (!full || !(canWait || canMakeRoom)) {
      throw new SyscallError("accept", -taken, this.#name);
    }
    if (!canMakeRoom) return "full";
    this.#makeRoom();
    return undefined;
  }

  #admit(owned: OwnedConnection, signal: AbortSignal): void {
    const { init } = owned;
    const first = new FirstBytes(init);
    const facts = { peer: peerHost(init.fd), order: this.#count++ };
    const caller = { owned, first, abort: new AbortController(), ...facts };
    this.#silent.push(caller);
    this.#keep(this.#identify(caller, signal));
    if (this.#silent.length > this.#limit) this.#makeRoom();
  }

  /** Sends away who is least likely to be wanted. */
  #makeRoom(): void {
    const caller = this.#silent.splice(leastLikely(this.#silent, this.#mainCaller), 1)[0]!;
    this.#sendSilentAway(caller);
  }

  #sendSilentAway({ owned, abort, peer }: Caller): void {
    this.#sentAway.add(peer);
    abort.abort();
    owned.close();
  }

  async #identify(caller: Caller, signal: AbortSignal): Promise<void> {
    const { owned, first, abort } = caller;
    const wait = { signal: AbortSignal.any([signal, abort.signal]), timeout: this.#stallTimeout };
    while (true) {
      let late = false;
      try {
        await waitReady(first.fd, PollEvents.IN, "a connection's first bytes", wait);
      } catch {
        late = !wait.signal.aborted;
      }
      // In one turn with this look: the fault server listens to it once it is handed over.
      if (signal.aborted) return;
      const index = this.#silent.indexOf(caller);
      if (index < 0) return; // closed meanwhile
      if (late && mayNotBeSilent(caller, this.#silent, this.#mainCaller)) {
        this.#silent.splice(index, 1);
        return this.#sendSilentAway(caller);
      }
      const speaker = first.listen();
      if (speaker === "silent") continue;
      // A page, and nobody has been told yet to take them: it goes to the door with what it has said. On
      // a slow path the main channel may have its say later.
      if (speaker === "preempt" && !this.#refusing) {
        if (this.#mainCaller === undefined) this.#keep(this.#awaitMain(caller, wait));
        return;
      }
      this.#silent.splice(index, 1);
      if (speaker === "multifd" && !this.#refusing && this.#onMultifd(owned, first.connection)) {
        return;
      }
      if (first.failure !== undefined) this.#onRefused?.(first.failure.message);
      if (speaker !== "main" || this.#mainCaller !== undefined || this.#refusing) {
        return owned.close();
      }
      this.#mainCaller = caller;
      return this.#main.resolve({ owned, connection: first.connection });
    }
  }

  /** Waits for the main channel of one that has spoken before it, but not for ever. */
  async #awaitMain(
    caller: Caller,
    { signal, timeout }: { signal: AbortSignal; timeout: number },
  ): Promise<void> {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeout);
    signal.addEventListener("abort", () => resolve());
    await Promise.race([over, this.#main.promise.then(() => {}, () => {})]);
    clearTimeout(timer);
    const index = this.#silent.indexOf(caller);
    if (signal.aborted || this.#mainCaller !== undefined || index < 0) return;
    this.#silent.splice(index, 1);
    this.#sendSilentAway(caller);
  }
}
