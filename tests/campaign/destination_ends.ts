/** The two kinds of destination, seen alike. */

import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { openImage } from "../../image/open_image.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { type Encryption, LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import type { Plan } from "./draw.ts";
import { Touching, type TouchThreads } from "./touching.ts";

/** What the memory must be at the end, and the state of the devices. */
export interface Expected {
  /** All blocks, one after the other; what runs at the destination changes it too. */
  readonly memory: Uint8Array<SharedArrayBuffer>;
  readonly deviceState: Uint8Array;
}

/** A destination. */
export interface DestinationEnd extends AsyncDisposable {
  readonly status: string;
  readonly pauseReason: Error | undefined;
  /** Pages that are in place. */
  readonly received: number;
  /** True when the guest runs here, or is complete here in a file. */
  readonly hasGuest: boolean;
  /** Settles with why it failed, or undefined; never rejects. */
  readonly ended: Promise<Error | undefined>;
  /** Figures for the log. */
  readonly figures: string;
  listen(): Promise<SocketAddress>;
  pause(): void | Promise<void>;
  recover(): Promise<SocketAddress>;
  /** Lets what runs here stand still, when all memory is there. */
  settle(): Promise<void>;
  /** Ends it, whatever it is doing. */
  close(): Promise<void>;
  /** Throws when a byte is not what it must be. */
  check(): Promise<void>;
}

/** Makes one, and says what the memory must be once that is known. */
export function destinationEnd(
  plan: Plan,
  tls: Encryption["destination"] | undefined,
  directory: string,
  expected: () => Expected,
  threads: TouchThreads,
): DestinationEnd {
  const secret = tls === undefined ? {} : { tls };
  return plan.destination === "guest"
    ? new GuestEnd(plan, secret, expected, threads)
    : new FileEnd(plan, secret, directory, expected);
}

/** The options of TLS, if it is used. */
interface Secret {
  readonly tls?: Encryption["destination"];
}

function ending(finished: Promise<void>): Promise<Error | undefined> {
  return finished.then(() => undefined, (error) => error as Error);
}

class GuestEnd implements DestinationEnd {
  readonly ended: Promise<Error | undefined>;
  readonly #destination: Destination;
  readonly #guest: StillGuest;
  readonly #touching = new Touching();
  readonly #expected: () => Expected;
  readonly #threads: TouchThreads;
  #idle = true;

  constructor(plan: Plan, secret: Secret, expected: () => Expected, threads: TouchThreads) {
    this.#expected = expected;
    this.#threads = threads;
    this.#guest = new StillGuest(({ blocks }) => {
      this.#idle = false;
      const workers = threads.take(plan.touchers);
      this.#touching.start(workers, blocks, expected().memory.buffer, plan);
    });
    const { backing, decompressThreads } = plan;
    const options = { guest: this.#guest, backing, decompressThreads, ...secret };
    this.#destination = new Destination(options);
    this.ended = ending(this.#destination.finished);
  }

  get status(): string {
    return this.#destination.status;
  }

  get pauseReason(): Error | undefined {
    return this.#destination.pauseReason;
  }

  get received(): number {
    return this.#destination.statistics().received;
  }

  get hasGuest(): boolean {
    return this.#guest.calls.includes("start");
  }

  get figures(): string {
    const { received, pages, duplicates, faults, requests, pauses, recoveries } = this.#destination
      .statistics();
    const touched = this.#touching.touched;
    return JSON.stringify({
      ...{ received, pages, duplicates, faults, requests, pauses, recoveries, touched },
      calls: this.#guest.calls.join(),
    });
  }

  listen(): Promise<SocketAddress> {
    return this.#destination.listen(LOOPBACK);
  }

  pause(): void {
    this.#destination.pause();
  }

  recover(): Promise<SocketAddress> {
    return this.#destination.recover(LOOPBACK);
  }

  async settle(): Promise<void> {
    await this.#touching.stop();
    this.#idle = true;
  }

  check(): Promise<void> {
    const { memory, deviceState } = this.#expected();
    const { wrong } = this.#touching;
    if (wrong !== undefined) throw new Error(`A thread found a wrong page: ${wrong}`);
    if (this.#guest.calls.join() !== "load,start") throw new Error(this.#guest.calls.join());
    same("The device state", this.#guest.deviceState, deviceState, 0);
    let at = 0;
    for (const { name, address, length } of this.#guest.blocks) {
      const found = viewMemory(address, length);
      same(`Block ${name}`, found, memory.subarray(at, at + length), 0);
      at += length;
    }
    if (at !== memory.length) throw new Error(`Blocks of ${at} bytes, not ${memory.length}`);
    const { received, pages, duplicates } = this.#destination.statistics();
    if (received !== pages || duplicates > 0) throw new Error(`Figures: ${this.figures}`);
    return Promise.resolve();
  }

  async close(): Promise<void> {
    if (!this.#idle) this.#threads.abandon();
    await this.#destination.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

class FileEnd implements DestinationEnd {
  readonly ended: Promise<Error | undefined>;
  readonly #receiver: ImageReceiver;
  readonly #path: string;
  readonly #plan: Plan;
  readonly #expected: () => Expected;

  constructor(plan: Plan, secret: Secret, directory: string, expected: () => Expected) {
    this.#path = `${directory}/received`;
    this.#plan = plan;
    this.#expected = expected;
    const { decompressThreads } = plan;
    this.#receiver = new ImageReceiver({ path: this.#path, decompressThreads, ...secret });
    this.ended = ending(this.#receiver.finished);
  }

  get status(): string {
    return this.#receiver.status;
  }

  get pauseReason(): Error | undefined {
    const wait = this.#receiver.waitReason;
    return this.#receiver.pauseReason ?? (wait === undefined ? undefined : new Error(wait));
  }

  get received(): number {
    return this.#receiver.statistics().received;
  }

  get hasGuest(): boolean {
    return exists(this.#path);
  }

  get figures(): string {
    return JSON.stringify({ ...this.#receiver.statistics(), holds: this.#receiver.holdsGuest });
  }

  listen(): Promise<SocketAddress> {
    return this.#receiver.listen(LOOPBACK);
  }

  pause(): Promise<void> {
    return this.#receiver.pause();
  }

  recover(): Promise<SocketAddress> {
    return this.#receiver.recover(LOOPBACK);
  }

  settle(): Promise<void> {
    return Promise.resolve();
  }

  async check(): Promise<void> {
    const { memory, deviceState } = this.#expected();
    using image = await openImage(this.#path);
    let at = 0;
    const blocks = this.#plan.blocks.map(({ name, pages }) => {
      const block: [string, Uint8Array] = [name, memory.slice(at, at + pages * 4096)];
      at += pages * 4096;
      return block;
    });
    assertImageMemory(image, new Map(blocks));
    if (this.#plan.source === "image") {
      same("The device state", image.deviceState, deviceState, 0);
    }
  }

  close(): Promise<void> {
    return this.#receiver.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function same(what: string, found: Uint8Array, expected: Uint8Array, at: number): void {
  if (Buffer.compare(found, expected) === 0) return;
  const byte = found.findIndex((value, index) => value !== expected[index]);
  const page = Math.floor((at + byte) / 4096);
  const zero = found.subarray(page * 4096, (page + 1) * 4096).every((value) => value === 0);
  throw new Error(
    `${what} differs at byte ${byte}, page ${page}${zero ? ", which is zero" : ""}: ` +
      `${found.length} bytes, ${expected.length} expected`,
  );
}
