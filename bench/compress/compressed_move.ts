/** A migration of a written guest with compression, between two processes. */

import type { WorkloadEvent } from "../../client/command/workload_report.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { JsonCommand } from "../migrate/json_command.ts";
import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, type End, placementPrefix } from "../support/cpu_placement.ts";
import type { Link } from "../support/link.ts";
import type { AllocationJob, AllocationReport } from "./allocation_source.ts";
import type { CompressJob, CompressReport } from "./compress_source.ts";
import type { ThreadingModel } from "./threading_model.ts";
import type { CompressSetup, WriteSetup } from "./written_guest.ts";

const DESTINATION = new URL("../../client/main.ts", import.meta.url);
const SOURCE = new URL("./compress_source.ts", import.meta.url);
const ALLOCATION_SOURCE = new URL("./allocation_source.ts", import.meta.url);

/** What is the same for all migrations of a benchmark. */
export interface Scene extends WriteSetup {
  /** Where the two ends are. */
  readonly link: Link;
  /** On which CPUs. */
  readonly placement: CpuPlacement;
  /** Milliseconds after which a migration is cancelled. */
  readonly limit: number;
  readonly method: CompressionMethod;
  readonly level: number;
  /** Threads of the destination that decompress. */
  readonly decompressThreads: number;
}

/** What differs between the rows of the tables. */
export interface Case {
  /** Threads that compress. */
  readonly threads: number;
  /** Whether a page waits for one of them. */
  readonly wait: boolean;
}

/** How a migration went. */
export interface MoveFigures {
  /** False when it had not converged within the limit. */
  readonly completed: boolean;
  /** Milliseconds from the moment when the destination was prepared to the end, or to the limit. */
  readonly total: number;
  /** Milliseconds that the guest stood still; undefined when it was not moved. */
  readonly downtime: number | undefined;
  /** Pages sent as they are because no thread was free, of all. */
  readonly busy: number;
  /** Processor time of the sending thread, of the total. */
  readonly sender: number;
  /** Processor time of each compression thread, of the total. */
  readonly compressors: readonly number[];
  /** Pages sent a second. */
  readonly pagesPerSecond: number;
  /** Bytes of the compressed pages, of what they take in memory. */
  readonly compressedTo: number;
  /** Bytes sent. */
  readonly transferred: number;
  /** Times that the dirty pages were collected. */
  readonly rounds: number;
  /** Pages that the guest wrote a second meanwhile. */
  readonly written: number;
}

type Destination = JsonCommand<WorkloadEvent>;

function prefix({ link, placement }: Scene, end: End): string[] {
  return [...link[end].prefix, ...placementPrefix(placement, end)];
}

function startDestination(scene: Scene): Destination {
  const { link, decompressThreads } = scene;
  const guest = ["--write", "--threads", "1", "--rate", "1"];
  return new JsonCommand<WorkloadEvent>(
    DESTINATION,
    [
      ...["workload", "--listen", `tcp:${link.destination.host}:0`, ...guest],
      ...["--decompress-threads", `${decompressThreads}`],
    ],
    prefix(scene, "destination"),
  );
}

async function setupFor(
  scene: Scene,
  { threads, wait }: Case,
  model: ThreadingModel,
  destination: Destination,
): Promise<CompressSetup> {
  const { address: to } = await destination.waitFor("listening");
  const { size, repeats, writers, rate, warmUp, maxBandwidth, downtimeLimit } = scene;
  const { method, level } = scene;
  const compress = { method, level, threads, wait };
  return { to, size, repeats, writers, rate, warmUp, maxBandwidth, downtimeLimit, model, compress };
}

function startSource(
  scene: Scene,
  script: URL,
  job: CompressJob | AllocationJob,
): BenchProcess {
  return new BenchProcess(script, {
    prefix: prefix(scene, "source"),
    args: [JSON.stringify(job)],
  });
}

function figures({ completed, statistics, written }: CompressReport): MoveFigures {
  const { compression, threads, ram, downtime } = statistics;
  if (compression === undefined) throw new Error("Source tells nothing of compression");
  const total = statistics["total-time"] - statistics["setup-time"];
  const share = (name: string): number[] =>
    threads.filter((thread) => thread.name.startsWith(name))
      .map((thread) => thread["cpu-time"] / total);
  const { pages, busy, incompressible } = compression;
  return {
    completed,
    total,
    downtime,
    busy: compression["busy-rate"],
    sender: share("precopy")[0]!,
    compressors: share("compress-"),
    pagesPerSecond: (pages + busy + incompressible) / total * 1000,
    compressedTo: pages === 0 ? 1 : 1 / compression["compression-rate"],
    transferred: ram.transferred,
    rounds: ram["dirty-sync-count"],
    written,
  };
}

/**
 * Moves a guest, or tries to. The destination checks every byte of one that arrived.
 *
 * @throws {Error} when either end fails, or a byte is wrong
 */
export async function moveCompressed(
  scene: Scene,
  each: Case,
  model: ThreadingModel,
): Promise<MoveFigures> {
  await using destination = startDestination(scene);
  const setup = await setupFor(scene, each, model, destination);
  await using source = startSource(scene, SOURCE, { ...setup, limit: scene.limit });
  const report = await source.next<CompressReport>();
  if (report.completed) await destination.ended();
  return figures(report);
}

/**
 * Has pages of a guest compressed and sent by the product's threads, and tells by how much that makes
 * the source's process larger.
 *
 * @param warmPages pages before the first look
 * @param pages pages between the two
 */
export async function measureAllocation(
  scene: Scene,
  each: Case,
  warmPages: number,
  pages: number,
): Promise<AllocationReport> {
  await using destination = startDestination(scene);
  const setup = await setupFor(scene, each, "after", destination);
  await using source = startSource(scene, ALLOCATION_SOURCE, { ...setup, warmPages, pages });
  return await source.next<AllocationReport>();
}
