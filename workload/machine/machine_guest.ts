/** A machine at both ends of a live migration. */

import type { Guest, GuestMachine, GuestMemory, LiveGuest } from "../../migration/guest.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { type LoadReport, type LoadTransaction, Machine } from "./machine.ts";
import type { MachineOptions } from "./options.ts";
import { Traffic } from "./traffic.ts";

/** Milliseconds between two bursts of requests. */
const BURST_INTERVAL = 1;

/** What a machine does at the source. */
export interface LiveMachineOptions extends MachineOptions {
  /** What the guest's choices are made from; default 1. */
  readonly seed?: number;
  /** Requests that its devices do in each millisecond; default 16. */
  readonly requests?: number;
}

/**
 * A machine that runs at the source: its devices do requests while its memory is being sent. Its
 * memory is that of {@linkcode machineBlocks}.
 *
 * @example
 * ```ts ignore
 * using region = new LiveRegion({ blocks: machineBlocks(options) });
 * using guest = new LiveMachine(region.blocks, options);
 * await using source = new LiveSource(region, guest, { to });
 * await source.run();
 * ```
 */
export class LiveMachine implements LiveGuest, Disposable {
  /** The machine, whose devices migrate. */
  readonly machine: Machine;
  readonly #traffic: Traffic;
  readonly #requests: number;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * Boots a machine and lets it run.
   *
   * @param blocks its memory, which must stay mapped until it is closed
   * @param options what it is made of, and does
   * @throws {MachineError} for settings that cannot be, or other memory
   */
  constructor(blocks: readonly GuestBlock[], options: LiveMachineOptions = {}) {
    const { seed = 1, requests = 16, ...settings } = options;
    this.machine = new Machine(settings);
    this.machine.attach(blocks);
    this.machine.boot(seed);
    this.#traffic = new Traffic(this.machine, seed + 1);
    this.#requests = requests;
    this.resume();
  }

  /** Requests that its devices have done. */
  get done(): number {
    return this.#traffic.done;
  }

  /** Stops the machine. */
  stop(): void {
    clearInterval(this.#timer);
    this.machine.stop();
  }

  /** Returns the state of its devices. */
  save(): Uint8Array {
    return this.machine.save();
  }

  /** Lets it run on here. */
  resume(): void {
    this.machine.start();
    this.#timer = setInterval(() => this.#traffic.run(this.#requests), BURST_INTERVAL);
  }

  /** Ends the requests: its memory may be unmapped then. Closing again does nothing. */
  close(): void {
    clearInterval(this.#timer);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * A machine at the destination. With one transaction the destination loads its devices itself; with a
 * commit per change they are loaded by {@linkcode MachineGuest.load}.
 */
export class MachineGuest implements Guest {
  /** What the destination loads. */
  declare readonly machine?: GuestMachine;
  /** The machine. */
  readonly arrived: Machine;
  readonly #transaction: LoadTransaction;
  #report: LoadReport | undefined;

  /**
   * Makes a machine with the settings of the one at the source.
   *
   * @param options what it is made of
   * @param transaction how memory changes are committed while its devices are loaded
   */
  constructor(options: MachineOptions = {}, transaction: LoadTransaction = "one") {
    this.arrived = new Machine(options);
    this.#transaction = transaction;
    if (transaction === "one") this.machine = this.arrived;
    this.arrived.memory.resetStatistics();
  }

  /** What loading took, when it was not the destination that loaded. */
  get report(): LoadReport | undefined {
    return this.#report;
  }

  /** Takes the memory, and loads what the destination does not. */
  load(deviceState: Uint8Array, { blocks }: GuestMemory): void {
    const { arrived } = this;
    arrived.attach(blocks);
    if (this.machine !== undefined) return;
    this.#report = arrived.load(deviceState, { transaction: this.#transaction });
  }

  /** Runs the machine; its devices wait for a driver, which is at rest here. */
  start(): void {
    this.arrived.start();
  }

  /** Stops the machine. */
  stop(): void {
    if (this.arrived.status === "running") this.arrived.stop();
  }
}
