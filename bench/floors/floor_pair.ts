/** The floors of a link and a CPU placement, measured between two processes. */

import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, placementPrefix } from "../support/cpu_placement.ts";
import type { Link } from "../support/link.ts";
import type { DestinationCommand, Measured } from "./destination.ts";
import type { SourcePorts } from "./source.ts";

/** Both floors of one moment. */
export interface Floors {
  /** Page request and 4 KiB reply over TCP between two processes, nanoseconds each. */
  readonly request: readonly number[];
  /** Touch of a missing page that another thread of the process places, nanoseconds each. */
  readonly fault: readonly number[];
  /** Bytes a second that a bulk stream had beside the requests; 0 without one. */
  readonly bulkRate: number;
}

/** How many measurements to take. */
export interface FloorCounts {
  /** Measured. */
  readonly count: number;
  /** Before them, not measured. */
  readonly warmUp: number;
}

/** Two processes that stand where the source and the destination of a migration will. */
export class FloorPair implements AsyncDisposable {
  readonly #source: BenchProcess;
  readonly #destination: BenchProcess;

  private constructor(source: BenchProcess, destination: BenchProcess) {
    this.#source = source;
    this.#destination = destination;
  }

  /** Starts both processes, connected over the link. */
  static async start(link: Link, placement: CpuPlacement): Promise<FloorPair> {
    const source = new BenchProcess(new URL("source.ts", import.meta.url), {
      prefix: [...link.source.prefix, ...placementPrefix(placement, "source")],
      args: [link.source.host],
    });
    try {
      const ports = await source.next<SourcePorts>();
      const destination = new BenchProcess(new URL("destination.ts", import.meta.url), {
        prefix: [...link.destination.prefix, ...placementPrefix(placement, "destination")],
        args: [link.source.host, String(ports.requests), String(ports.bulk)],
      });
      return new FloorPair(source, destination);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  #ask(command: DestinationCommand): Promise<Measured> {
    return this.#destination.ask<Measured>(command);
  }

  /** Measures both floors with nothing beside them. */
  async idle(counts: FloorCounts): Promise<Floors> {
    const request = await this.#ask({ ask: "requests", ...counts });
    const fault = await this.#ask({ ask: "faults", ...counts });
    return { request: request.samples, fault: fault.samples, bulkRate: request.bulkRate };
  }

  /** Measures both floors beside a bulk stream from the source to the destination. */
  async underBulk(counts: FloorCounts): Promise<Floors> {
    await this.#ask({ ask: "start-bulk" });
    const floors = await this.idle(counts);
    await this.#ask({ ask: "stop-bulk" });
    return floors;
  }

  /**
   * Measures the rate of a bulk stream with nothing beside it.
   *
   * @param milliseconds how long
   * @returns bytes a second
   */
  async bulkRate(milliseconds: number): Promise<number> {
    await this.#ask({ ask: "start-bulk" });
    const { bulkRate } = await this.#ask({ ask: "pause", milliseconds });
    await this.#ask({ ask: "stop-bulk" });
    return bulkRate;
  }

  /**
   * Measures how fast missing memory is filled by UFFDIO_COPY alone, on one thread.
   *
   * @param length bytes of memory
   * @param batch bytes placed by one call
   * @returns bytes a second
   */
  async fillRate(length: number, batch: number): Promise<number> {
    const { samples } = await this.#ask({ ask: "fill", length, batch });
    return length / samples[0]! * 1e9;
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
