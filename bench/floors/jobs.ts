/** The threads of the floors: what each is asked to do, and how its owner waits for it. */

import { Eventfd } from "../../ffi/eventfd.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";

/** What a thread of the floors does; see the functions that floor_worker.ts calls. */
export type FloorJob =
  | { readonly name: "answer"; readonly fd: number }
  | {
    readonly name: "request";
    readonly fd: number;
    readonly count: number;
    readonly warmUp: number;
  }
  | { readonly name: "send-bulk"; readonly fd: number; readonly memoryBytes: number }
  | { readonly name: "receive-bulk"; readonly fd: number; readonly received: SharedArrayBuffer }
  | { readonly name: "place"; readonly uffd: number }
  | {
    readonly name: "touch";
    readonly address: number;
    readonly pages: number;
    readonly warmUp: number;
  }
  | {
    readonly name: "fill";
    readonly uffd: number;
    readonly address: number;
    readonly length: number;
    readonly batch: number;
  };

/** A job with the eventfd that ends its waits. */
export interface FloorThreadInit {
  readonly job: FloorJob;
  readonly wakeFd: number;
}

/** A thread of the floors. */
export class FloorThread implements AsyncDisposable {
  readonly #wake = new Eventfd();
  readonly #thread: WorkerThread<FloorThreadInit, Float64Array>;
  #samples: Float64Array = new Float64Array();

  /**
   * Starts the thread.
   *
   * @param job what it does
   */
  constructor(job: FloorJob) {
    this.#thread = new WorkerThread(
      new URL("floor_worker.ts", import.meta.url),
      (samples) => this.#samples = samples,
    );
    this.#thread.run({ job, wakeFd: this.#wake.fd });
  }

  /**
   * Waits until the job is done.
   *
   * @returns its samples, nanoseconds; none where it measures nothing
   * @throws what ended it
   */
  async samples(): Promise<Float64Array> {
    await this.#thread.ended;
    return this.#samples;
  }

  /** Ends the job, however far it is. */
  async close(): Promise<void> {
    this.#wake.signal();
    await this.#thread.join();
    this.#wake.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
