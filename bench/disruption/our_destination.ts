/**
 * Child process: a destination of ours with a workload guest that is watched until it is known what it
 * does undisturbed.
 *
 * Argument: {@linkcode OurSetup} as JSON. First line out: `{"port":N}`; then {@linkcode OurReport}. Ends
 * with its standard input.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { Guest } from "../../migration/guest.ts";
import type { WorkloadOptions } from "../../workload/options.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import type { Timing } from "./figures.ts";
import { type Seen, tellsPace, type WorkSample, workSeen } from "./work_lost.ts";

/** What to start. */
export interface OurSetup {
  readonly workload: WorkloadOptions;
  /** Lets the guest run when all memory is there. */
  readonly allFirst: boolean;
  readonly timing: Timing;
}

/** How it went. */
export interface OurReport {
  readonly seen: Seen;
  /** ms in which the guest's only thread waited for pages. */
  readonly blocktime: number;
  readonly faults: number;
  /** Their mean, ns. */
  readonly latency: number;
  /** ms. */
  readonly total: number;
  /** CPU seconds from listening to the last page. */
  readonly cpu: number;
}

/** Between two samples, as a guest in QEMU says. */
const SAMPLE_MS = 100;

const now = (): number => monotonicNanoseconds() / 1e6;
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const { workload, allFirst, timing } = JSON.parse(Deno.args[0]!) as OurSetup;
const guest = new WorkloadGuest(workload);
await guest.ready;
const waiting: Guest = {
  load: (state, memory) => guest.load(state, memory),
  start() {},
  stop: () => guest.stop(),
};
const destination = new Destination({ guest: allFirst ? waiting : guest });
const address = await destination.listen({ transport: "tcp", host: "127.0.0.1", port: 0 });
const cpuBefore = await cpuSeconds(Deno.pid);
const samples: WorkSample[] = [];
let told = 0;
const sampling = setInterval(() => {
  const { accesses } = guest.statistics();
  if (guest.startedAt !== undefined) samples.push({ at: now(), work: accesses - told });
  told = accesses;
}, SAMPLE_MS);
say({ port: address.transport === "tcp" && address.port });
await destination.finished;
const completed = now();
const cpu = await cpuSeconds(Deno.pid) - cpuBefore;
if (allFirst) guest.start();
const ranAt = guest.startedAt! / 1e6;
const from = Math.max(ranAt + timing.window, completed) + timing.settle;
const to = from + timing.undisturbed;
while (!tellsPace(samples, { from, to })) await sleep(SAMPLE_MS);
clearInterval(sampling);
await guest.halt();
const { failures, waits, meanWait } = guest.statistics();
if (failures.length > 0) throw new Error(`Guest read wrong bytes: ${JSON.stringify(failures)}`);
const statistics = destination.statistics();
const report: OurReport = {
  seen: workSeen(samples, { from: ranAt, to: ranAt + timing.window }, {
    from,
    to: samples.at(-1)!.at,
  }),
  blocktime: waits * meanWait / 1e6,
  faults: statistics.requests,
  latency: statistics["postcopy-latency"],
  total: statistics["total-time"],
  cpu,
};
say(report);
await answerLines(() => Promise.resolve({}));
await destination.close();
Deno.exit(0);
