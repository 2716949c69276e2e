/** A script that speaks as QEMU's source does: it switches to postcopy, and comes again when it is cut off. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { ResumingSource } from "../receive/resuming_source.ts";
import { Random } from "../support/random.ts";
import type { StatusLog } from "../support/status_log.ts";
import type { Plan } from "./draw.ts";
import type { Expected } from "./destination_ends.ts";
import type { SourceEnd } from "./source_ends.ts";

/** Milliseconds between two tries to come again. */
const BETWEEN = 20;
/** Milliseconds of silence after which whoever runs QEMU breaks the connection: it does not notice by itself. */
const PATIENCE = 1_000;

/** A scripted source. */
export class ScriptEnd implements SourceEnd {
  readonly expected: Expected;
  readonly ended: Promise<Error | undefined>;
  readonly #settled = Promise.withResolvers<Error | undefined>();
  readonly #plan: Plan;
  readonly #random: Random;
  readonly #blocks: Readonly<Record<string, number>>;
  readonly #pages: number;
  readonly #log: StatusLog;
  #status = "setup";
  #switched = false;
  #gone = false;
  #current: ResumingSource | undefined;

  constructor(plan: Plan, log: StatusLog) {
    this.#plan = plan;
    this.#log = log;
    this.#random = new Random(plan.seed ^ 0x5c);
    this.ended = this.#settled.promise;
    this.#blocks = Object.fromEntries(plan.blocks.map(({ name, pages }) => [name, pages]));
    this.#pages = plan.blocks.reduce((sum, { pages }) => sum + pages, 0);
    this.expected = { memory: patternMemory(this.#pages), deviceState: new Uint8Array() };
  }

  get status(): string {
    return this.#status;
  }

  get pauseReason(): Error | undefined {
    return undefined;
  }

  /** It takes its guest back until it has switched: QEMU's does. */
  get hasGuest(): boolean {
    return !this.#switched;
  }

  get figures(): string {
    return JSON.stringify({ status: this.#status });
  }

  start(to: SocketAddress): void {
    this.#run(to).then(
      () => this.#settled.resolve(undefined),
      (error) => this.#settled.resolve(error),
    );
  }

  pause(): void {
    this.#current?.main.shutdown();
  }

  recover(): void {}

  kill(): Promise<void> {
    throw new Error("A script is not killed");
  }

  again(): Promise<void> {
    return this.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gone = true;
    this.#current?.[Symbol.dispose]();
    await this.ended;
  }

  async #run(to: SocketAddress): Promise<void> {
    using first = this.#attempt(to);
    await first.connect();
    if (this.#plan.mode !== "vanilla") await first.connectPreempt();
    this.#setStatus("active");
    await first.switchOver();
    // Without that it does not know where the guest is to run, and asks, as any that is paused.
    const heard = await this.#hears(first, () => first.listen(({ pongs }) => pongs.includes(3)));
    this.#switched = true;
    if (heard && await this.#send(first, Array.from({ length: this.#pages }, (_, page) => page))) {
      return;
    }
    while (!this.#gone && this.#switched) {
      this.#setStatus("postcopy-paused");
      await new Promise((resolve) => setTimeout(resolve, BETWEEN));
      if (await this.#resume(to)) return;
    }
    if (this.#switched) throw new Error("Gone");
    throw new Error("The receiver does not have the guest");
  }

  async #resume(to: SocketAddress): Promise<boolean> {
    using source = this.#attempt(to);
    try {
      await source.connect();
      if (this.#plan.mode !== "vanilla") await source.connectPreempt();
    } catch {
      return false; // nobody listens there
    }
    this.#setStatus("postcopy-recover");
    const agrees = async () => await this.#ask(source) && await source.resume();
    if (!await this.#hears(source, agrees)) return this.#isConfirmed(source);
    return await this.#send(source, source.missing());
  }

  /** Returns whether it was confirmed. */
  async #send(source: ResumingSource, pages: readonly number[]): Promise<boolean> {
    this.#setStatus("postcopy-active");
    await this.#hears(source, () => this.#sendAll(source, [...pages]));
    return this.#isConfirmed(source);
  }

  /** Asks what is there; false when it is told instead how the migration ended, or nothing. */
  async #ask(source: ResumingSource): Promise<boolean> {
    source.encodeRecovery();
    await source.flush();
    const count = this.#plan.blocks.length;
    await source.listen(({ shuts }, { bitmaps }) => shuts.length > 0 || bitmaps.size === count);
    return source.resuming.bitmaps.size === count;
  }

  #isConfirmed({ heard }: ResumingSource): boolean {
    if (heard.shuts.some((value) => value !== 0)) this.#switched = false;
    if (!heard.shuts.includes(0)) return false;
    this.#setStatus("completed");
    return true;
  }

  async #sendAll(source: ResumingSource, left: number[]): Promise<boolean> {
    while (left.length > 0) {
      const some = left.splice(0, this.#random.between(1, 40));
      const urgent = this.#plan.mode !== "vanilla" && this.#random.oneIn(3);
      if (urgent) {
        source.encodeUrgent(some);
        await source.flushPreempt();
      } else {
        source.encodePages(some);
        await source.flush();
      }
    }
    source.encodeEnd();
    await source.flush();
    return await source.listen(({ shuts }) => shuts.length > 0);
  }

  /** Does something that may be kept waiting for ever, but not for longer than anybody would. */
  async #hears(source: ResumingSource, act: () => Promise<boolean>): Promise<boolean> {
    const timer = setTimeout(() => source.main.shutdown(), PATIENCE);
    try {
      return await act();
    } finally {
      clearTimeout(timer);
    }
  }

  #attempt(to: SocketAddress): ResumingSource {
    return this.#current = new ResumingSource(to, this.#blocks);
  }

  #setStatus(status: string): void {
    this.#status = status;
    this.#log.add(status);
  }
}

function patternMemory(pages: number): Uint8Array<SharedArrayBuffer> {
  const pattern = new TestPattern(PATTERN);
  const words = new Int32Array(new SharedArrayBuffer(pages * 4096));
  const one = new Int32Array(1024);
  for (let page = 0; page < pages; page++) {
    if (pattern.isZero(page)) continue;
    pattern.expectedPage(page, one);
    words.set(one, page * 1024);
  }
  return new Uint8Array(words.buffer);
}
