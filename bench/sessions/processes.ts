/** A page server and the processes that hold its destinations. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { Backing } from "../../ffi/memory.ts";
import type { TestPatternSettings } from "../../workload/test_pattern.ts";
import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, placementPrefix } from "../support/cpu_placement.ts";
import type { Link } from "../support/link.ts";
import { ask } from "./answers.ts";
import type {
  Counted,
  DestinationsCommand,
  Listening,
  Reached,
  TouchFigures,
} from "./destinations.ts";
import type { Completed, Failures, Opened, ServerCommand } from "./server.ts";
import type { Share, Walk } from "./walk.ts";

const SERVER = new URL("server.ts", import.meta.url);
const DESTINATIONS = new URL("destinations.ts", import.meta.url);
/** Nanoseconds after which a walk begins: every process has heard of it. */
const HEAD_START = 100e6;

/** What to start. */
export interface ProcessesSetup {
  readonly link: Link;
  readonly placement: CpuPlacement;
  readonly image: string;
  readonly pattern: TestPatternSettings;
  readonly sessions: number;
  /** Processes that hold the destinations, at most; a session each at least. */
  readonly processes: number;
  /** The server's module, which answers each {@linkcode ServerCommand}; default server.ts. */
  readonly server?: URL;
}

/** What all touches of a walk together came to. */
export interface Walked {
  /** How long each waited, nanoseconds. */
  readonly samples: readonly number[];
  /** Touches a second. */
  readonly rate: number;
}

/** Sessions between one process and a few. */
export class SessionProcesses implements AsyncDisposable {
  readonly server: BenchProcess;
  readonly destinations: readonly BenchProcess[];
  readonly #setup: ProcessesSetup;
  readonly #shares: readonly Share[];
  #touches = 0;

  /** Starts the processes; there is no session yet. */
  constructor(setup: ProcessesSetup) {
    const { link, placement, image, sessions } = setup;
    const processes = Math.min(setup.processes, sessions);
    this.#setup = setup;
    this.#shares = Array.from(
      { length: processes },
      (_, process) => ({ sessions, process, processes }),
    );
    this.server = new BenchProcess(setup.server ?? SERVER, {
      prefix: [...link.source.prefix, ...placementPrefix(placement, "source")],
      args: [image],
    });
    const prefix = [...link.destination.prefix, ...placementPrefix(placement, "destination")];
    this.destinations = this.#shares.map(() => new BenchProcess(DESTINATIONS, { prefix }));
  }

  /** Process numbers of the destinations. */
  get pids(): number[] {
    return this.destinations.map(({ pid }) => pid);
  }

  /** Waits until all processes have loaded what they run. */
  async loaded(): Promise<void> {
    await this.failures();
    await this.#askAll<Counted>(() => ({ ask: "counted" }));
  }

  /**
   * Makes the destinations.
   *
   * @param backing how their memory is backed
   */
  async listen(backing: Backing = "anonymous"): Promise<readonly Listening[]> {
    const { host } = this.#setup.link.destination;
    return await this.#askAll((share) => ({ ask: "listen", share, host, backing }));
  }

  /**
   * Opens all sessions.
   *
   * @param maxBandwidth of each background stream, bytes a second; 0 for no limit
   * @returns when the first was made, monotonic nanoseconds
   */
  async open(listening: readonly Listening[], maxBandwidth: number): Promise<number> {
    const to = listening.flatMap(({ addresses }) => addresses);
    return (await this.#askServer<Opened>({ ask: "open", to, maxBandwidth })).from;
  }

  /** Waits until all guests run; returns when the last of them was started, monotonic nanoseconds. */
  running(): Promise<number> {
    return this.#last(() => ({ ask: "running" }));
  }

  /** Waits until all memory has arrived; returns when it had, monotonic nanoseconds. */
  finished(): Promise<number> {
    return this.#last(() => ({ ask: "finished" }));
  }

  /** Waits until all sources are done; returns the bytes sent. */
  async completed(): Promise<number> {
    return (await this.#askServer<Completed>({ ask: "completed" })).transferred;
  }

  /** Has pages of all sessions touched in turn. */
  async touch(count: number, interval: number): Promise<Walked> {
    const start = monotonicNanoseconds() + HEAD_START;
    const walk: Walk = { first: this.#touches, count, start, interval };
    this.#touches += count;
    const { pattern } = this.#setup;
    const touched = await this.#askAll<TouchFigures>(() => ({ ask: "touch", walk, pattern }));
    const ended = Math.max(...touched.map((each) => each.ended));
    return {
      samples: touched.flatMap(({ samples }) => samples),
      rate: count / (ended - start) * 1e9,
    };
  }

  /** What the destinations have counted. */
  counted(): Promise<readonly Counted[]> {
    return this.#askAll(() => ({ ask: "counted" }));
  }

  /** Why sessions ended, by the server. */
  failures(): Promise<Failures> {
    return this.#askServer({ ask: "failures" });
  }

  /** Opens a further session of the server. */
  async openTo(command: Extract<ServerCommand, { ask: "open" }>): Promise<void> {
    await this.#askServer<Opened>(command);
  }

  /** Ends all processes. */
  async close(): Promise<void> {
    await Promise.all([this.server, ...this.destinations].map((each) => each.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #askServer<A>(command: ServerCommand): Promise<A> {
    return ask(this.server, command);
  }

  /** Asks all destinations; what the server says of its sessions explains a failure of theirs. */
  async #askAll<A>(command: (share: Share) => DestinationsCommand): Promise<A[]> {
    try {
      return await Promise.all(
        this.destinations.map((each, index) => ask<A>(each, command(this.#shares[index]!))),
      );
    } catch (cause) {
      const failures = await this.failures().catch(() => []);
      if (failures.length === 0) throw cause;
      const text = `${failures.length} sessions failed, the first with ${failures[0]}`;
      throw new Error(`${(cause as Error).message}; ${text}`, { cause });
    }
  }

  async #last(command: () => DestinationsCommand): Promise<number> {
    const reached = await this.#askAll<Reached>(command);
    return Math.max(...reached.map(({ last }) => last));
  }
}
