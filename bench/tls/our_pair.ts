/** `serve` and a destination of ours. */

import type { WorkloadOptions } from "../../workload/options.ts";
import type { Waits } from "../migrate/move.ts";
import type { CpuPlacement } from "../support/cpu_placement.ts";
import { LOOPBACK } from "../support/link.ts";
import { type MigrationResult, runMigration } from "../support/migration_run.ts";
import { median, summarise } from "../support/statistics.ts";
import type { WorkloadImages } from "../support/workload_images.ts";
import type { MoveFigures } from "./figures.ts";

/** An image whose migration costs little but the start of the processes and the handshakes. */
const SMALL_IMAGE = 1024 * 1024;
const SMALL_RUNS = 3;
/** Each access to another page: so many waits are enough, and take less of them than the stream. */
const BESIDE_SHARE = 4;
/** Without the stream every page waits for its own request. */
const ALONE_SHARE = 16;
/** Bandwidth that holds the background stream off: 16 pages a second. */
const HELD_OFF = 64 * 1024;
const TOUCH: WorkloadOptions = { threads: 1, pattern: "once", untilTouched: true };

/** What pairs of ours are run with. */
export interface OurPlan {
  /** Of the stream; who waits for pages does so with both ends on one CPU. */
  readonly placement: CpuPlacement;
  /** Bytes of the guest. */
  readonly size: number;
  readonly images: WorkloadImages;
}

/** CPU seconds of a migration that come from the start of its ends. */
export interface StartCost {
  readonly source: number;
  readonly destination: number;
}

/** Bytes of the guest that touches its pages beside the stream. */
export function besideSize(size: number): number {
  return wholePages(size / BESIDE_SHARE);
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

async function move(
  { placement, images }: OurPlan,
  size: number,
  tls: string | undefined,
  touching: { readonly maxBandwidth?: number; readonly workload?: WorkloadOptions } = {},
): Promise<MigrationResult> {
  return await runMigration({
    link: LOOPBACK,
    placement,
    image: await images.path(size),
    mode: "preempt-full",
    maxBandwidth: 0,
    tls,
    ...touching,
  });
}

/** Measures what is to be taken off: the start of two processes that shake hands. */
export async function ourStartCost(plan: OurPlan, tls: string | undefined): Promise<StartCost> {
  const runs: MigrationResult[] = [];
  for (let run = 0; run < SMALL_RUNS; run++) runs.push(await move(plan, SMALL_IMAGE, tls));
  return {
    source: median(runs.map(({ sourceCpu }) => sourceCpu)),
    destination: median(runs.map(({ destination }) => destination.cpu)),
  };
}

async function waitsOf(plan: OurPlan, size: number, tls: string | undefined, maxBandwidth: number) {
  const onOne: OurPlan = { ...plan, placement: "one-cpu" };
  const { destination } = await move(onOne, size, tls, { maxBandwidth, workload: TOUCH });
  const { count, mean, p99 } = summarise(destination.waits);
  const waits: Waits = { count, mean, p99 };
  return waits;
}

/**
 * Measures the background stream, and what pages are waited for with and without it.
 *
 * @param tls credentials of both ends; undefined: in clear
 */
export async function measureOurs(
  plan: OurPlan,
  tls: string | undefined,
  start: StartCost,
): Promise<MoveFigures> {
  const { size } = plan;
  const { source, sourceCpu, destination } = await move(plan, size, tls);
  const gigabytes = size / 1e9;
  return {
    stream: {
      rate: size / (source["total-time"] - source["setup-time"]) * 1000,
      setup: source["setup-time"],
      sourceCpu: Math.max(0, sourceCpu - start.source) / gigabytes,
      destinationCpu: Math.max(0, destination.cpu - start.destination) / gigabytes,
    },
    alone: await waitsOf(plan, wholePages(size / ALONE_SHARE), tls, HELD_OFF),
    beside: await waitsOf(plan, besideSize(size), tls, 0),
  };
}
