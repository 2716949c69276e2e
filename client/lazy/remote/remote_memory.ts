/** An image that is at a page server: its memory here, and the control plane of the task that receives it. */

import type { ConnectionInit } from "../../../channel/connection.ts";
import { linger } from "../../../channel/linger.ts";
import { Eventfd } from "../../../ffi/eventfd.ts";
import { MappedMemory } from "../../../ffi/memory.ts";
import { checkStallTimeout } from "../../../ffi/peer_watch.ts";
import { MigrationError, reviveMigrationError } from "../../../migration/migration_error.ts";
import type { PoolTask, ThreadPool } from "../../../migration/threads/thread_pool.ts";
import { pauseFor } from "../../pause_for.ts";
import type { MemoryPages } from "../memory_pages.ts";
import { BASE_PAGE } from "../region.ts";
import type { ArrivingInit } from "./arriving_memory.ts";
import { formatPageAddress, type PageAddress } from "./page_address.ts";
import { PageClient, type PageClientTlsOptions, type PageConnections } from "./page_client.ts";
import { type RemoteCacheInit, remotePages } from "./remote_cache.ts";
import { RemoteCounter, RemoteState } from "./remote_state.ts";
import { REMOTE_TASK, type RemoteInit, type RemoteMessage } from "./remote_task.ts";

/** Milliseconds between two tries to connect, at first and at most; doubled each time. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 3_000;
/** Milliseconds without a server after which what has not come counts as lost, where nothing else is said. */
const LOST_AFTER = 10_000;

/** What happens to a remote image. */
export type RemoteEvent =
  /** The connection broke, or cannot be made again: it is tried again and again, and processes wait. */
  | { readonly event: "server-lost"; readonly server: string; readonly reason: string }
  /** It is there again. */
  | { readonly event: "server-found"; readonly server: string }
  /** Every page is here: the server is not needed any more. */
  | { readonly event: "complete"; readonly server: string };

/** Figures of a remote image. Pages are of 4 KiB. */
export interface RemoteStatistics {
  /** Pages of the image. */
  readonly pages: number;
  /** Of them, pages that are here. */
  readonly received: number;
  /** Pages that were asked for because a process waited for them. */
  readonly requested: number;
  /** Bytes that came. */
  readonly bytes: number;
}

/** Where the image is, and how to get it. */
export interface RemoteMemoryOptions {
  readonly from: PageAddress;
  readonly tls?: PageClientTlsOptions | undefined;
  readonly stallTimeout?: number | undefined;
  /** Milliseconds without a connection after which pages that have not come count as lost; default 10000. */
  readonly lostAfter?: number | undefined;
  readonly pool: ThreadPool;
  readonly tell: (event: RemoteEvent) => void;
  readonly note: (text: string) => void;
}

/** What one run of the task is, and what it has told. */
interface Run {
  readonly task: PoolTask<RemoteInit, RemoteMessage>;
  readonly connections: PageConnections;
}

/**
 * One copy of the image for all processes of this host, however many are served from it: what one of them
 * waited for the others have too. A connection that breaks is made again, and the server told what is here.
 */
export class RemoteMemory implements AsyncDisposable {
  readonly #options: RemoteMemoryOptions;
  readonly #server: string;
  readonly #client: PageClient;
  readonly #state = new RemoteState();
  readonly #stack = new DisposableStack();
  readonly #wake = this.#stack.use(new Eventfd());
  readonly #closing = new AbortController();
  readonly #events: Eventfd[] = [];
  readonly #free: number[] = [];
  readonly #opened = Promise.withResolvers<void>();
  #cache: RemoteCacheInit | undefined;
  #memory: MemoryPages | undefined;
  #identity: Uint8Array | undefined;
  /** The server answers requests, or has: another can go on. */
  #served = false;
  #lostTimer: ReturnType<typeof setTimeout> | undefined;
  #receiving: Promise<void> = Promise.resolve();
  #told = "";
  #closed: Promise<void> | undefined;

  private constructor(options: RemoteMemoryOptions) {
    this.#options = options;
    this.#server = formatPageAddress(options.from);
    const { from, tls, pool, note } = options;
    const stallTimeout = checkStallTimeout(options.stallTimeout);
    this.#client = this.#stack.use(new PageClient({ from, tls, stallTimeout, pool, note }));
  }

  /**
   * Calls the server, and resolves when its blocks are known.
   *
   * @throws {MigrationError} when it refuses, or sends what cannot be
   * @throws {SyscallError} when it cannot be reached
   * @throws {TlsError} for credentials that cannot be used, or when one end does not accept the other
   */
  static async open(options: RemoteMemoryOptions): Promise<RemoteMemory> {
    const memory = new RemoteMemory(options);
    try {
      const run = await memory.#connect();
      memory.#receiving = memory.#receive(run);
      await memory.#begun(run);
      return memory;
    } catch (error) {
      await memory.close();
      throw reasonOf(error);
    }
  }

  /** The memory, which fills. */
  get memory(): MemoryPages {
    return this.#memory ??= remotePages(this.#cache!);
  }

  /** The figures so far. */
  statistics(): RemoteStatistics {
    return {
      pages: this.memory.length / BASE_PAGE,
      received: this.#state.get(RemoteCounter.RECEIVED),
      requested: this.#state.get(RemoteCounter.REQUESTED),
      bytes: this.#state.get(RemoteCounter.BYTES),
    };
  }

  /**
   * A place for a session.
   *
   * @throws {RangeError} when there are too many
   */
  enter(): ArrivingInit {
    let slot = this.#free.pop();
    if (slot === undefined) {
      const event = this.#stack.use(new Eventfd());
      slot = this.#state.addWaiter(event.fd);
      this.#events.push(event);
    }
    return {
      state: this.#state.buffer,
      cache: this.#cache!,
      slot,
      eventFd: this.#events[slot]!.fd,
      receiverFd: this.#wake.fd,
    };
  }

  /** Gives a place back; nobody uses it any more. */
  leave({ slot }: ArrivingInit): void {
    this.#free.push(slot);
  }

  /** Frees it: no session uses it any more. Closing again does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#opened.promise.catch(() => {}); // nobody may wait
    this.#closing.abort(new Error("Closed"));
    this.#state.setStopped(true);
    this.#wake.signal();
    await this.#receiving;
    clearTimeout(this.#lostTimer);
    if (this.#cache !== undefined) {
      const { address, length, fd } = this.#cache;
      MappedMemory.adopt(address, length, fd).close();
    }
    this.#stack.dispose();
  }

  /** Waits for the blocks, but not for a server that is there and does nothing. */
  async #begun({ task }: Run): Promise<void> {
    const stallTimeout = checkStallTimeout(this.#options.stallTimeout);
    const { promise: stalled, reject } = Promise.withResolvers<never>();
    const text =
      `Server has begun nothing for ${stallTimeout / 1000} s: ${this.#server}: see whether it ` +
      "still runs";
    const timer = setTimeout(() => reject(new MigrationError("STALLED", text)), stallTimeout);
    try {
      await Promise.race([this.#opened.promise, task.ended, stalled]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Receives over one pair of connections after the other, until every page is here. */
  async #receive(first: Run): Promise<void> {
    for (let run: Run | undefined = first; run !== undefined;) {
      const { task, connections } = run;
      const reason = await task.ended.catch(reasonOf);
      await task.join();
      const over = await this.#isOver(connections.main, reason);
      connections[Symbol.dispose]();
      if (over) return;
      this.#lose(reason);
      run = await this.#reconnect();
    }
  }

  /** Whether nothing more is to be received, now that a run has ended. */
  async #isOver(main: ConnectionInit, reason: unknown): Promise<boolean> {
    if (this.#closing.signal.aborted) return true;
    if (!this.#state.complete) return this.#cache === undefined; // whoever waits for it hears why
    this.#found();
    this.#options.tell({ event: "complete", server: this.#server });
    if (reason === undefined) await linger(main);
    return true;
  }

  async #reconnect(): Promise<Run | undefined> {
    const { signal } = this.#closing;
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      await pauseFor(pause, signal);
      try {
        return await this.#connect();
      } catch (error) {
        if (!signal.aborted) this.#lose(error);
      }
    }
    return undefined;
  }

  async #connect(): Promise<Run> {
    const { signal } = this.#closing;
    const { pool } = this.#options;
    const task = pool.task(REMOTE_TASK, (message) => this.#hear(message));
    try {
      await task.prepare();
      const known = this.#served ? this.#identity : undefined;
      const connections = await this.#client.connect(known, signal);
      this.#identify(connections);
      task.run({
        main: connections.main,
        preempt: connections.preempt,
        wakeFd: this.#wake.fd,
        state: this.#state.buffer,
        ...this.#cache === undefined ? {} : { cache: this.#cache },
        resumes: this.#served,
      });
      return { task, connections };
    } catch (error) {
      await task.join();
      throw error;
    }
  }

  /** Pages of two images are never mixed, whatever the server makes of it. */
  #identify(connections: PageConnections): void {
    const { identity } = connections;
    if (this.#identity?.toHex() === identity.toHex()) return;
    if (this.#identity === undefined) return void (this.#identity = identity);
    connections[Symbol.dispose]();
    throw new MigrationError(
      "BAD_PEER",
      `Server has another image of that name than before: ${this.#server}: serve the file that it was, ` +
        "with its time",
    );
  }

  #hear(message: RemoteMessage): void {
    if (message.kind === "opened") {
      this.#cache = message.cache;
      return this.#opened.resolve();
    }
    this.#served = true;
    this.#found();
  }

  /** There is no connection: it is told, where that is news. */
  #lose(error: unknown): void {
    const { lostAfter = LOST_AFTER, tell } = this.#options;
    this.#lostTimer ??= setTimeout(() => this.#state.setLost(true), lostAfter);
    const reason = error instanceof Error ? error.message : `${error}`;
    if (reason === this.#told) return;
    this.#told = reason;
    tell({ event: "server-lost", server: this.#server, reason });
  }

  #found(): void {
    clearTimeout(this.#lostTimer);
    this.#lostTimer = undefined;
    if (this.#state.lost) this.#state.setLost(false);
    if (this.#told === "") return;
    this.#told = "";
    this.#options.tell({ event: "server-found", server: this.#server });
  }
}

/** Makes errors of the task what they were; what cannot be understood is the server's doing. */
function reasonOf(error: unknown): unknown {
  const revived = reviveMigrationError(error);
  const { name, message } = revived as Error;
  if (name !== "ProtocolError" && name !== "RamLayoutError") return revived;
  return new MigrationError("BAD_PEER", `Server sent what cannot be understood: ${message}`, {
    cause: error,
  });
}
