/**
 * Child process: a destination with a workload guest that measures how long its accesses wait.
 *
 * Argument: {@linkcode DestinationSetup} as JSON. First line out: `{"port":N}`; after the migration:
 * {@linkcode DestinationReport}. Ends with its standard input.
 *
 * @module
 */

import { Destination } from "../client/destination.ts";
import type { DestinationStatistics } from "../client/statistics.ts";
import type { Backing } from "../ffi/memory.ts";
import type { WorkloadOptions } from "../workload/options.ts";
import { WorkloadGuest } from "../workload/workload_guest.ts";
import { answerLines, say } from "./support/bench_process.ts";
import { cpuSeconds } from "./support/cpu_time.ts";

/** What to start. */
export interface DestinationSetup {
  /** Where to listen. */
  readonly host: string;
  /** What the guest does; undefined for one that touches nothing. */
  readonly workload?: WorkloadOptions;
  /** How its memory is backed. */
  readonly backing?: Backing;
  /** Credentials, as for `--tls-creds`; absent: in clear. */
  readonly tls?: string;
}

/** How it went. */
export interface DestinationReport {
  /** Latency of each access that waited for its page, nanoseconds, ascending. */
  readonly waits: readonly number[];
  /** Waits by power-of-two bucket of microseconds. */
  readonly buckets: readonly number[];
  /** CPU seconds from listening to the last page. */
  readonly cpu: number;
  /** The destination's own statistics. */
  readonly statistics: DestinationStatistics;
}

/** A guest without a processor: its memory arrives and nobody looks. */
const STILL_GUEST = { load() {}, start() {}, stop() {} };

const setup = JSON.parse(Deno.args[0]!) as DestinationSetup;
const guest = setup.workload === undefined ? undefined : new WorkloadGuest(setup.workload);
await guest?.ready;
const destination = new Destination({
  guest: guest ?? STILL_GUEST,
  ...setup.backing === undefined ? {} : { backing: setup.backing },
  ...setup.tls === undefined ? {} : { tls: { credentials: setup.tls } },
});
const address = await destination.listen({ transport: "tcp", host: setup.host, port: 0 });
const before = await cpuSeconds(Deno.pid);
say({ port: address.transport === "tcp" && address.port });
await destination.finished;
const cpu = await cpuSeconds(Deno.pid) - before;
await guest?.halt();
const workload = guest?.statistics();
if (workload !== undefined && workload.failures.length > 0) {
  throw new Error(`Guest read wrong bytes: ${JSON.stringify(workload.failures)}`);
}
const report: DestinationReport = {
  waits: [...guest?.latencies() ?? []],
  buckets: workload?.waitBuckets ?? [],
  cpu,
  statistics: destination.statistics(),
};
say(report);
await answerLines(() => Promise.resolve({}));
await destination.close();
Deno.exit(0);
