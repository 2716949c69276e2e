/** A guest that writes at random while it is migrated, and knows what it held when it stopped. */

import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { viewMemory } from "../../ffi/memory.ts";
import type { LiveGuest } from "../../migration/guest.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { Random } from "../support/random.ts";
import { GuestControl } from "./guest_control.ts";
import type { WriterJob } from "./writer_worker.ts";

/** How it writes. */
export interface WritingGuestOptions {
  /** Threads, default 2. */
  readonly threads?: number;
  /** Writes between two naps of a millisecond; default 0: as fast as it can. */
  readonly burst?: number;
}

/** A guest of some threads that write random words. `await using` it. */
export class WritingGuest implements LiveGuest, AsyncDisposable {
  /** What was called, in order. */
  readonly calls: string[] = [];
  /** The memory as it was when the guest stopped last. */
  snapshot: Uint8Array[] = [];
  /** What `save` returns. */
  readonly state: Uint8Array = new Random(7).bytes(3000);
  /** Called by `stop` and `save` before they return, to hold them. */
  hold: (call: "stop" | "save") => void | Promise<void> = () => {};
  readonly #blocks: readonly GuestBlock[];
  readonly #control = new GuestControl();
  readonly #threads: WorkerThread<WriterJob, never>[];

  constructor(blocks: readonly GuestBlock[], { threads = 2, burst = 0 }: WritingGuestOptions = {}) {
    this.#blocks = blocks;
    this.#threads = Array.from({ length: threads }, (_, thread) => {
      const worker = new WorkerThread<WriterJob, never>(
        new URL("./writer_worker.ts", import.meta.url),
      );
      worker.run({ thread, blocks, control: this.#control.buffer, burst });
      return worker;
    });
  }

  /** Writes until now. */
  get writes(): number {
    return this.#control.writes;
  }

  async stop(): Promise<void> {
    this.calls.push("stop");
    await this.#control.pause(this.#threads.length);
    this.snapshot = this.#blocks.map(({ address, length }) => viewMemory(address, length).slice());
    await this.hold("stop");
  }

  async save(): Promise<Uint8Array> {
    this.calls.push("save");
    await this.hold("save");
    return this.state;
  }

  resume(): void {
    this.calls.push("resume");
    this.#control.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#control.end();
    await Promise.all(this.#threads.map((thread) => thread.join()));
  }
}

/** Compares memory with a snapshot, byte for byte. */
export function assertSameMemory(
  blocks: readonly GuestBlock[],
  snapshot: readonly Uint8Array[],
): void {
  assertEquals(blocks.length, snapshot.length);
  blocks.forEach(({ name, address, length }, index) => {
    const found = viewMemory(address, length);
    const expected = snapshot[index]!;
    if (Buffer.compare(found, expected) === 0) return;
    const at = found.findIndex((byte, offset) => byte !== expected[offset]);
    throw new Error(`Block ${name} differs from page ${Math.floor(at / 4096)} on, offset ${at}`);
  });
}
