/** A source whose guest runs and writes. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { WritingGuest } from "../live/writing_guest.ts";
import type { Encryption } from "../support/migrate.ts";
import type { StatusLog } from "../support/status_log.ts";
import type { Plan } from "./draw.ts";
import type { Expected } from "./destination_ends.ts";
import { type SourceEnd, sourceOptions } from "./source_ends.ts";

/** Writes of a thread between two naps of a millisecond: precopy converges beside it. */
const BURST = 50;

/** A live source. */
export class LiveEnd implements SourceEnd {
  readonly ended: Promise<Error | undefined>;
  readonly #settled = Promise.withResolvers<Error | undefined>();
  readonly #plan: Plan;
  readonly #tls: Encryption["source"] | undefined;
  readonly #log: StatusLog;
  readonly #region: LiveRegion;
  readonly #guest: WritingGuest;
  #source: LiveSource | undefined;
  #expected: Expected | undefined;

  constructor(
    plan: Plan,
    tls: Encryption["source"] | undefined,
    content: Uint8Array,
    log: StatusLog,
  ) {
    this.#plan = plan;
    this.#tls = tls;
    this.#log = log;
    this.ended = this.#settled.promise;
    this.#region = new LiveRegion({
      blocks: plan.blocks.map(({ name, pages }) => ({ name, length: pages * 4096 })),
      machine: plan.machine,
    });
    let at = 0;
    for (const { address, length } of this.#region.blocks) {
      const bytes = viewMemory(address, length);
      for (let page = 0; page < length; page += 4096) {
        const from = content.subarray(at + page, at + page + 4096);
        // Zero pages are never touched, as most of a guest's are.
        if (from.some((byte) => byte !== 0)) bytes.set(from, page);
      }
      at += length;
    }
    this.#guest = new WritingGuest(this.#region.blocks, { threads: 1, burst: BURST });
  }

  get status(): string {
    return this.#source?.status ?? "setup";
  }

  get pauseReason(): Error | undefined {
    return this.#source?.pauseReason;
  }

  get hasGuest(): boolean {
    return this.#guest.calls.lastIndexOf("resume") >= this.#guest.calls.lastIndexOf("stop");
  }

  get expected(): Expected {
    return this.#expected ??= {
      memory: joined(this.#guest.snapshot),
      deviceState: this.#guest.state,
    };
  }

  get figures(): string {
    const { ram, status } = this.#source!.statistics();
    return JSON.stringify({ status, ...ram, calls: this.#guest.calls.join() });
  }

  start(to: SocketAddress): void {
    const { postcopy, bandwidth } = this.#plan;
    this.#source = new LiveSource(this.#region, this.#guest, {
      ...sourceOptions(this.#plan, this.#tls, this.#log),
      to,
      maxBandwidth: bandwidth * 4,
      postcopy: postcopy === "now" ? "auto" : postcopy,
    });
    this.#source.run().then(
      () => this.#settled.resolve(undefined),
      (error) => this.#settled.resolve(error),
    );
    if (postcopy === "now") this.#source.startPostcopy();
  }

  pause(): void {
    this.#source?.pause();
  }

  recover(): void {
    this.#source?.recover();
  }

  kill(): Promise<void> {
    throw new Error("A live source is not killed: its guest would be gone");
  }

  again(): Promise<void> {
    return this.kill();
  }

  /** Sees that the guest goes on: its threads write. */
  async goesOn(): Promise<boolean> {
    const { writes } = this.#guest;
    for (let look = 0; look < 2_000; look++) {
      if (this.#guest.writes > writes) return true;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source?.close();
    await this.#guest[Symbol.asyncDispose]();
    this.#region.close();
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<SharedArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(new SharedArrayBuffer(length));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
