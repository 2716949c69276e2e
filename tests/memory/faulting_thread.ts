/** A thread that touches one page. */

import type { Touch } from "../hostile/touching_worker.ts";
import { until } from "../support/deadline.ts";

/** Starts at once; see {@linkcode FaultingThread.found}. */
export class FaultingThread implements Disposable {
  readonly #result = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker = new Worker(new URL("../hostile/touching_worker.ts", import.meta.url), {
    type: "module",
  });

  /** @param address of a page */
  constructor(address: number) {
    const touch: Touch = { address, result: this.#result.buffer as SharedArrayBuffer };
    this.#worker.postMessage(touch);
  }

  /** Whether it has found something, and so does not wait. */
  get isThrough(): boolean {
    return Atomics.load(this.#result, 0) === 2;
  }

  /** Waits for what it finds: word 5 of the page. */
  async found(): Promise<number> {
    await until("the thread to get through", () => this.isThrough);
    return this.#result[1]!;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
