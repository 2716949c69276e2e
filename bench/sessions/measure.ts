/** All that is measured with one number of sessions. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { TestPatternSettings } from "../../workload/test_pattern.ts";
import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, placementPrefix } from "../support/cpu_placement.ts";
import { LOOPBACK } from "../support/link.ts";
import { progress } from "../support/progress.ts";
import { summarise, type Summary } from "../support/statistics.ts";
import type { WorkloadImages } from "../support/workload_images.ts";
import { ask } from "./answers.ts";
import { EpollFloorPair } from "./epoll_floor_pair.ts";
import type { FloodCommand, Flooded, FloodListening } from "./flood.ts";
import type { FloodKind } from "./flooding_destination.ts";
import { cpuNanosecondsOf } from "./process_cost.ts";
import { type ProcessesSetup, SessionProcesses, type Walked } from "./processes.ts";
import { lookAtRest, type RestFigures } from "./rest.ts";
import { measureStreams, type StreamFigures } from "./stream.ts";
import { guestSize } from "./walk.ts";

/** How to measure, the same for each number of sessions. */
export interface SessionsPlan {
  readonly placement: CpuPlacement;
  readonly images: WorkloadImages;
  /** Processes that hold the destinations. */
  readonly processes: number;
  /** Touches a second of all sessions together. */
  readonly rate: number;
  /** Touches of a walk. */
  readonly count: number;
  /** Walks of each kind. */
  readonly repeat: number;
  /** Seconds at rest. */
  readonly rest: number;
  /** What the session that floods asks for. */
  readonly flood: FloodKind;
  /** Bytes of all guests that stream. */
  readonly stream: number;
}

/** What was found with one number of sessions; figures by repetition, in nanoseconds where nothing else is said. */
export interface SessionsRow {
  readonly sessions: number;
  /** Processes that held the destinations. */
  readonly processes: number;
  /** Bytes of a guest. */
  readonly size: number;
  /** From the call until all destinations listened, of the slowest process, milliseconds. */
  readonly listen: number;
  /** From the first session made until all guests ran, milliseconds. */
  readonly start: number;
  readonly server: RestFigures;
  readonly destinations: RestFigures;
  /** Waits for a page. */
  readonly waits: readonly Summary[];
  /** The same beside a session that floods the server. */
  readonly flooded: readonly Summary[];
  /** Requests and replies of the plain floor, on as many connections. */
  readonly floor: readonly Summary[];
  /** Touches a second that there were. */
  readonly rate: readonly number[];
  /** Requests a second of the flood. */
  readonly floodRate: readonly number[];
  /** CPU time of the server for a request, without the flood. */
  readonly cpuPerRequest: readonly number[];
  /** Faults by power-of-two bucket of microseconds, by the destinations' own count, all walks. */
  readonly buckets: readonly number[];
  /** The longest, by that count. */
  readonly longest: number;
  readonly stream: StreamFigures;
}

/** A background stream that is held off: it sends one page, and waits for hours. */
const HELD_OFF = 1;
/** Touches before those that are measured; of each session one at least. */
const WARM_UP = 500;
/** What {@linkcode WorkloadImages} writes. */
const PATTERN: TestPatternSettings = { seed: 1, zeroEvery: 0 };

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };
type WalkFigures = Mutable<
  Pick<SessionsRow, "waits" | "flooded" | "floor" | "rate" | "floodRate" | "cpuPerRequest">
>;

/** The session that floods. */
class Flooder implements AsyncDisposable {
  readonly #process: BenchProcess;

  constructor(placement: CpuPlacement) {
    this.#process = new BenchProcess(new URL("flood.ts", import.meta.url), {
      prefix: placementPrefix(placement, "destination"),
      args: [LOOPBACK.destination.host],
    });
  }

  /** Becomes a further session of the server. */
  async join(processes: SessionProcesses): Promise<void> {
    const { address } = await this.#ask<FloodListening>({ ask: "listen" });
    await processes.openTo({ ask: "open", to: [address], maxBandwidth: HELD_OFF });
    await this.#ask({ ask: "accept" });
  }

  /** Floods the server as long as something lasts; returns that, and the requests a second. */
  async beside<T>(kind: FloodKind, act: () => Promise<T>): Promise<[T, number]> {
    await this.#ask({ ask: "flood", kind });
    const result = await act();
    return [result, (await this.#ask<Flooded>({ ask: "calm" })).rate];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process.close();
  }

  #ask<A>(command: FloodCommand): Promise<A> {
    return ask<A>(this.#process, command);
  }
}

async function measureWalks(
  processes: SessionProcesses,
  sessions: number,
  plan: SessionsPlan,
): Promise<WalkFigures> {
  const { placement, rate, count, repeat } = plan;
  const interval = 1e9 / rate;
  await using floor = await EpollFloorPair.start(LOOPBACK.source.host, sessions, placement);
  await using flooder = new Flooder(placement);
  await flooder.join(processes);
  const warmUp = warmUpOf(sessions);
  await processes.touch(warmUp, interval);
  await floor.requests({ count: warmUp, interval });
  const { pid } = processes.server;
  const figures: WalkFigures = {
    ...{ waits: [], flooded: [], floor: [], rate: [], floodRate: [], cpuPerRequest: [] },
  };
  for (let run = 0; run < repeat; run++) {
    const before = await cpuNanosecondsOf(pid);
    const quiet = await processes.touch(count, interval);
    figures.cpuPerRequest.push((await cpuNanosecondsOf(pid) - before) / count);
    figures.floor.push(summarise(await floor.requests({ count, interval })));
    const [flooded, floodRate] = await flooder.beside<Walked>(
      plan.flood,
      () => processes.touch(count, interval),
    );
    figures.waits.push(summarise(quiet.samples));
    figures.rate.push(quiet.rate);
    figures.flooded.push(summarise(flooded.samples));
    figures.floodRate.push(floodRate);
  }
  const failures = await processes.failures();
  if (failures.length > 0) throw new Error(`Sessions failed: ${failures.join("; ")}`);
  return figures;
}

function warmUpOf(sessions: number): number {
  return Math.max(sessions, WARM_UP);
}

async function measureHeld(setup: ProcessesSetup, size: number, plan: SessionsPlan) {
  const { sessions } = setup;
  await using processes = new SessionProcesses(setup);
  await processes.loaded();
  const groups = [[processes.server.pid], processes.pids];
  const before = await lookAtRest(groups, plan.rest);
  const listening = await processes.listen();
  const from = await processes.open(listening, HELD_OFF);
  const start = (await processes.running() - from) / 1e6;
  progress(`  all guests run after ${start.toFixed(0)} ms`);
  const held = await lookAtRest(groups, plan.rest);
  const [server, destinations] = held.map((each, group) => ({
    before: before[group]!,
    held: each,
  }));
  const walks = await measureWalks(processes, sessions, plan);
  const counted = await processes.counted();
  return {
    sessions,
    processes: processes.destinations.length,
    size,
    listen: Math.max(...listening.map(({ took }) => took)),
    start,
    server: server!,
    destinations: destinations!,
    ...walks,
    buckets: counted.map(({ buckets }) => buckets).reduce((sum, buckets) =>
      sum.map((count, bucket) => count + buckets[bucket]!)
    ),
    longest: Math.max(...counted.map(({ longest }) => longest)),
  };
}

/**
 * Measures one number of sessions.
 *
 * @throws {Error} when a session fails, or a page does not come
 */
export async function measureSessions(sessions: number, plan: SessionsPlan): Promise<SessionsRow> {
  const { images, placement, processes, count, repeat } = plan;
  const size = guestSize(warmUpOf(sessions) + 2 * repeat * count, sessions);
  const common = { link: LOOPBACK, placement, pattern: PATTERN, sessions, processes };
  const begin = monotonicNanoseconds();
  progress(`${sessions} sessions, guests of ${size / 2 ** 20} MiB`);
  const held = await measureHeld({ ...common, image: await images.path(size) }, size, plan);
  const streamSize = Math.ceil(plan.stream / sessions / 2 ** 20) * 2 ** 20;
  progress(`  streaming, guests of ${streamSize / 2 ** 20} MiB`);
  const setup = { ...common, image: await images.path(streamSize) };
  const stream = await measureStreams(setup, streamSize);
  progress(`  done in ${((monotonicNanoseconds() - begin) / 1e9).toFixed(0)} s`);
  return { ...held, stream };
}
