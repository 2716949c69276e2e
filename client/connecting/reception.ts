/** Who is let in, when that takes a handshake: the task that sees to it, from the control plane. */

import { closeConnection } from "../../channel/owned_connection.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import type { PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import {
  admittedRing,
  type AllowedNetworks,
  Entrance,
  type EntranceInit,
  type EntranceRules,
} from "./entrance.ts";
import { listenersRing } from "./listeners.ts";
import { RECEPTION, type ReceptionInit, type RefusedConnection } from "./reception_task.ts";
import type { SharedSentAway } from "./sent_away.ts";

/** Milliseconds for a handshake, at most: a source that is there takes some round trips. */
const PATIENCE = 10_000;

/** What a reception does. */
export interface ReceptionOptions {
  /** Of which sessions are made; open until the reception is closed. */
  readonly context: TlsContext;
  readonly pool: ThreadPool;
  /** Milliseconds without a sign of life after which whoever connects counts as gone. */
  readonly stallTimeout: number;
  /** Whose hosts may connect; absent: any. */
  readonly allowed: AllowedNetworks | undefined;
  /** Where those are counted who did not finish in time. */
  readonly sentAway: SharedSentAway;
  /** Told of those with whom a handshake failed. */
  readonly onRefused: (refused: RefusedConnection) => void;
}

/** Shakes hands with whoever connects at any of a destination's places; who is welcome comes by the entrance. */
export class Reception {
  readonly #options: ReceptionOptions;
  readonly #stack = new DisposableStack();
  readonly #wake = this.#stack.use(new Eventfd());
  readonly #arrived = this.#stack.use(new Eventfd());
  readonly #listeners = listenersRing();
  readonly #admitted = admittedRing();
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #fds: number[] = [];
  #task: PoolTask<ReceptionInit, RefusedConnection>;
  #closed: Promise<void> | undefined;

  /** @param options who is welcome */
  constructor(options: ReceptionOptions) {
    this.#options = options;
    this.#task = this.#makeTask();
  }

  /** Where those come in who are welcome, whichever place they connected to. */
  get entrance(): EntranceInit {
    return { fd: this.#arrived.fd, ...this.rules };
  }

  /** The same, but for its descriptor. */
  get rules(): EntranceRules {
    return { admitted: this.#admitted.buffer };
  }

  /** Accepts at a place; `fd` is a listening socket, open until this is closed. */
  listen(fd: number): void {
    this.#fds.push(fd);
    this.#listeners.push(fd); // as many as a destination has places
    if (this.#fds.length === 1) this.#run();
    this.#wake.signal();
  }

  /** Accepts no more, and closes who was let in and not taken. Nobody takes any more. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #makeTask(): PoolTask<ReceptionInit, RefusedConnection> {
    return this.#options.pool.task(RECEPTION, this.#options.onRefused);
  }

  #run(): void {
    const { context, stallTimeout, allowed, sentAway } = this.#options;
    this.#task.run({
      context: context.init,
      listeners: this.#listeners.buffer,
      wakeFd: this.#wake.fd,
      stop: this.#stop.buffer as SharedArrayBuffer,
      admitted: this.#admitted.buffer,
      admittedFd: this.#arrived.fd,
      patience: Math.min(PATIENCE, stallTimeout),
      stallTimeout,
      sentAway,
      ...allowed === undefined ? {} : { allowed },
    });
    this.#task.ended.catch(() => this.#runAnew());
  }

  /** Its thread has died: whoever was shaking hands is gone, and may come again. */
  #runAnew(): void {
    if (this.#closed !== undefined) return;
    this.#task = this.#makeTask();
    while (!this.#listeners.empty) this.#listeners.drop();
    for (const fd of this.#fds) this.#listeners.push(fd);
    this.#run();
  }

  async #close(): Promise<void> {
    Atomics.store(this.#stop, 0, 1);
    this.#wake.signal();
    await this.#task.join();
    const entrance = new Entrance(this.entrance);
    for (let next = entrance.take(); typeof next !== "number"; next = entrance.take()) {
      closeConnection(next);
    }
    this.#stack.dispose();
  }
}
