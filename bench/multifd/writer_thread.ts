/** A guest of ours that does what QEMU's writer does: one word of so many pages a second, chosen at random. */

import type { LiveGuest } from "../../migration/guest.ts";

/** Where it writes, and how often. */
export interface WriterSetup {
  /** Of its memory. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** Pages a second; 0: it rests. */
  readonly rate: number;
}

/** What the thread is told: to go on, or to end. */
export const WriterState = { RUNS: 0, ENDS: 1 } as const;

/** The thread, as a guest that can be moved. */
export class WriterThread implements LiveGuest, AsyncDisposable {
  readonly #setup: WriterSetup;
  /** What the thread is told, and how many pages it has written. */
  readonly #state = new Int32Array(new SharedArrayBuffer(8));
  #worker: Worker | undefined;
  #ended: Promise<void> = Promise.resolve();
  #stoppedAt: number | undefined;

  private constructor(setup: WriterSetup) {
    this.#setup = setup;
  }

  /** Starts the thread; resolves when it writes. */
  static async start(setup: WriterSetup): Promise<WriterThread> {
    const writer = new WriterThread(setup);
    if (setup.rate > 0) await writer.#start();
    return writer;
  }

  /** Pages written so far, and the moment, ms: the last one in which it wrote. */
  get written(): { readonly pages: number; readonly at: number } {
    return { pages: Atomics.load(this.#state, 1), at: this.#stoppedAt ?? performance.now() };
  }

  /** Stops it; resolves when it writes no more. */
  async stop(): Promise<void> {
    this.#stoppedAt ??= performance.now();
    Atomics.store(this.#state, 0, WriterState.ENDS);
    Atomics.notify(this.#state, 0);
    await this.#ended;
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  /** It has no state. */
  save(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(0);
  }

  /** Lets it go on. */
  async resume(): Promise<void> {
    if (this.#setup.rate > 0) await this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #start(): Promise<void> {
    this.#stoppedAt = undefined;
    Atomics.store(this.#state, 0, WriterState.RUNS);
    const worker = new Worker(new URL("./writer_worker.ts", import.meta.url), { type: "module" });
    this.#worker = worker;
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    this.#ended = ended.promise;
    worker.onmessage = ({ data }) => data === "begun" ? begun.resolve() : ended.resolve();
    worker.onerror = (event) => begun.reject(new Error(event.message));
    worker.postMessage({ ...this.#setup, state: this.#state });
    await begun.promise;
  }
}
