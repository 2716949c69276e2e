/** How long guests wait for pages of a daemon that is looked at, and of one that is not. */

import { BenchProcess } from "../support/bench_process.ts";
import { ask } from "../sessions/answers.ts";
import { cpuNanosecondsOf } from "../sessions/process_cost.ts";
import { SessionProcesses } from "../sessions/processes.ts";
import { guestSize } from "../sessions/walk.ts";
import type { CpuPlacement } from "../support/cpu_placement.ts";
import { LOOPBACK } from "../support/link.ts";
import { progress } from "../support/progress.ts";
import { summarise, type Summary } from "../support/statistics.ts";
import type { WorkloadImages } from "../support/workload_images.ts";
import type { DaemonPlace, DaemonServerCommand } from "./server.ts";
import type { Watched, WatchersCommand } from "./watchers.ts";

/** How to measure. */
export interface DaemonPlan {
  readonly placement: CpuPlacement;
  readonly images: WorkloadImages;
  readonly sessions: number;
  /** Processes that hold the destinations. */
  readonly processes: number;
  /** Touches a second of all sessions together. */
  readonly rate: number;
  /** Touches of a walk. */
  readonly count: number;
  /** Pairs of walks, one looked at and one not. */
  readonly pairs: number;
  /** Clients of the interface beside dashboard and metrics. */
  readonly clients: number;
  /** Words before the command of those who look; default {@linkcode ELSEWHERE}. */
  readonly watchers?: readonly string[];
}

/** What was found; a walk each, in nanoseconds where nothing else is said. */
export interface DaemonRow {
  readonly sessions: number;
  readonly clients: number;
  /** Bytes of a guest. */
  readonly size: number;
  readonly quiet: readonly Summary[];
  readonly watched: readonly Summary[];
  /** Processor time of the daemon for each second. */
  readonly quietCpu: readonly number[];
  readonly watchedCpu: readonly number[];
  /** What those who looked did, in each walk. */
  readonly done: readonly Watched[];
}

/** A background stream that is held off: it sends one page, and waits for hours. */
const HELD_OFF = 1;
/** Touches before those that are measured. */
const WARM_UP = 500;
/** What {@linkcode WorkloadImages} writes. */
const PATTERN = { seed: 1, zeroEvery: 0 };
/** Who looks is on another host: he gets of this one's processors what nobody else wants. */
const ELSEWHERE: readonly string[] = ["chrt", "--idle", "0"];

interface Walk {
  readonly waits: Summary;
  readonly cpu: number;
}

/**
 * Measures walks in pairs: who begins changes from pair to pair.
 *
 * @throws {Error} when a session fails, a page does not come, or nobody looked
 */
export async function measureDaemon(plan: DaemonPlan): Promise<DaemonRow> {
  const { images, sessions, processes, placement, rate, count, pairs, clients } = plan;
  const interval = 1e9 / rate;
  const size = guestSize(WARM_UP + sessions + (2 * pairs + 1) * count, sessions);
  progress(`${sessions} sessions of a daemon, guests of ${size / 2 ** 20} MiB`);
  await using held = new SessionProcesses({
    ...{ link: LOOPBACK, placement, sessions, processes, pattern: PATTERN },
    image: await images.path(size),
    server: new URL("server.ts", import.meta.url),
  });
  await held.loaded();
  await held.open(await held.listen(), HELD_OFF);
  await held.running();
  const daemon = await ask<DaemonPlace>(
    held.server,
    { ask: "daemon" } satisfies DaemonServerCommand,
  );
  await using watchers = new BenchProcess(new URL("watchers.ts", import.meta.url), {
    prefix: plan.watchers ?? ELSEWHERE,
    args: [daemon.socket, `${clients}`],
  });
  const order = (what: WatchersCommand["ask"]) => ask<Watched>(watchers, { ask: what });
  const walk = async (): Promise<Walk> => {
    const [cpu, at] = [await cpuNanosecondsOf(daemon.pid), performance.now()];
    const { samples } = await held.touch(count, interval);
    const seconds = (performance.now() - at) / 1000;
    return {
      waits: summarise(samples),
      cpu: (await cpuNanosecondsOf(daemon.pid) - cpu) / seconds,
    };
  };
  const done: Watched[] = [];
  const watch = async (): Promise<Walk> => {
    await order("watch");
    const found = await walk();
    done.push(checked(await order("rest"), clients));
    return found;
  };
  await held.touch(Math.max(WARM_UP, sessions), interval);
  await watch(); // compiled by then
  done.pop();
  const [quiet, watched]: [Walk[], Walk[]] = [[], []];
  for (let pair = 0; pair < pairs; pair++) {
    if (pair % 2 === 1) watched.push(await watch());
    quiet.push(await walk());
    if (pair % 2 === 0) watched.push(await watch());
  }
  const failures = await held.failures();
  if (failures.length > 0) throw new Error(`Sessions failed: ${failures.join("; ")}`);
  return {
    sessions,
    clients,
    size,
    quiet: quiet.map(({ waits }) => waits),
    watched: watched.map(({ waits }) => waits),
    quietCpu: quiet.map(({ cpu }) => cpu),
    watchedCpu: watched.map(({ cpu }) => cpu),
    done,
  };
}

/** A walk beside which nobody looked would prove nothing. */
function checked(done: Watched, clients: number): Watched {
  if (done.answers >= clients && done.scrapes > 0 && done.looks > 0) return done;
  throw new Error(`Nobody looked at the daemon: ${JSON.stringify(done)}`);
}
