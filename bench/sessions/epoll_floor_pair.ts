/** The floor with many connections: a thread that answers on all of them, and one that asks in turn. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, placementPrefix } from "../support/cpu_placement.ts";
import { ask } from "./answers.ts";
import type { FloorCommand, Requested, Serving } from "./epoll_floor_end.ts";
import type { Walk } from "./walk.ts";

const END = new URL("epoll_floor_end.ts", import.meta.url);
/** Nanoseconds in which the thread that asks has started. */
const HEAD_START = 300e6;

/** Two processes, connected many times. */
export class EpollFloorPair implements AsyncDisposable {
  readonly #source: BenchProcess;
  readonly #destination: BenchProcess;

  private constructor(source: BenchProcess, destination: BenchProcess) {
    this.#source = source;
    this.#destination = destination;
  }

  /** Starts both processes, connected over the loopback. */
  static async start(
    host: string,
    connections: number,
    placement: CpuPlacement,
  ): Promise<EpollFloorPair> {
    const pair = new EpollFloorPair(
      new BenchProcess(END, { prefix: placementPrefix(placement, "source") }),
      new BenchProcess(END, { prefix: placementPrefix(placement, "destination") }),
    );
    try {
      const serve: FloorCommand = { ask: "serve", host, connections };
      const { address } = await ask<Serving>(pair.#source, serve);
      const connect: FloorCommand = { ask: "connect", to: address, connections };
      await ask(pair.#destination, connect);
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }

  /**
   * Asks on all connections in turn.
   *
   * @returns how long each request took, nanoseconds
   */
  async requests(walk: Omit<Walk, "start" | "first">): Promise<readonly number[]> {
    const start = monotonicNanoseconds() + HEAD_START;
    const command: FloorCommand = { ask: "requests", walk: { ...walk, first: 0, start } };
    return (await ask<Requested>(this.#destination, command)).samples;
  }

  /** Ends both processes. */
  async close(): Promise<void> {
    await this.#destination.close();
    await this.#source.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
