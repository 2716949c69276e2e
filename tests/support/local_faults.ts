/** Memory whose pages are missing until they are touched, without a migration. */

import "./native.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { RegisterMode, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import type { FaultJob } from "./local_fault_worker.ts";

/** What {@linkcode LocalFaults} serves. */
export type LocalContent = Pick<FaultJob, "pattern" | "flip" | "hold">;

/** Anonymous memory with a fault worker behind it. */
export class LocalFaults implements AsyncDisposable {
  readonly memory: MappedMemory;
  readonly #uffd = new Userfaultfd();
  readonly #end = new Eventfd();
  readonly #placed = Promise.withResolvers<number>();
  readonly #thread: WorkerThread<FaultJob, number>;

  /** Maps memory for so many pages and serves their faults. */
  constructor(pages: number, content: LocalContent) {
    this.memory = MappedMemory.anonymous(pages * 4096);
    this.#uffd.register(this.memory.address, this.memory.length, RegisterMode.MISSING);
    const entry = new URL("./local_fault_worker.ts", import.meta.url);
    this.#thread = new WorkerThread(entry, this.#placed.resolve);
    this.#thread.ended.catch(this.#placed.reject);
    const uffd = this.#uffd.fd;
    this.#thread.run({ ...content, uffd, end: this.#end.fd, address: this.memory.address });
  }

  /**
   * Lets go of threads that wait for a page, on a zero page. Closing the descriptor would not: the
   * worker's poll holds it open.
   */
  release(): void {
    this.#uffd.unregister(this.memory.address, this.memory.length);
  }

  /** Stops serving; returns how many pages were placed. */
  stop(): Promise<number> {
    this.#end.signal();
    return this.#placed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#thread.join();
    this.#uffd.close();
    this.#end.close();
    this.memory.close();
  }
}
