/** The thread that stands for the processors of all guests of a process. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { Touched, ToucherInit, ToucherOrder, WrongContent } from "./toucher_worker.ts";
import type { Walk } from "./walk.ts";

/** Milliseconds; a page takes less than one. */
const PATIENCE = 10_000;

/** A thread that touches pages, seen from its owner. */
export class Toucher implements Disposable {
  readonly #patience: number;
  readonly #worker = new Worker(new URL("toucher_worker.ts", import.meta.url), { type: "module" });
  readonly #place = new Int32Array(new SharedArrayBuffer(8));

  /**
   * @param init where the memories lie, all of them loaded
   * @param patience milliseconds behind the end of a walk after which a page that has not come never comes
   */
  constructor(init: Omit<ToucherInit, "place">, patience = PATIENCE) {
    this.#patience = patience;
    const place = this.#place.buffer as SharedArrayBuffer;
    this.#order({ kind: "init", init: { ...init, place } });
  }

  /**
   * Follows a walk.
   *
   * @throws {Error} when a page holds what it should not, or does not come
   */
  async follow(walk: Walk): Promise<Touched> {
    const { promise, resolve, reject } = Promise.withResolvers<Touched>();
    this.#worker.onmessage = ({ data }: MessageEvent<Touched | WrongContent>) => {
      if (data.kind === "touched") resolve(data);
      else reject(new Error(data.message));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    const end = walk.start + walk.count * walk.interval;
    const left = Math.max(0, end - monotonicNanoseconds()) / 1e6;
    const timer = setTimeout(() => {
      const [session, page] = this.#place;
      const seconds = this.#patience / 1000;
      reject(new Error(`Page ${page} of session ${session} has not come within ${seconds} s`));
    }, left + this.#patience);
    try {
      this.#order({ kind: "walk", walk });
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the thread; one that is held ends when the userfaultfd that holds it does. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  #order(order: ToucherOrder): void {
    this.#worker.postMessage(order);
  }
}
