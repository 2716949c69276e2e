/** One migration between two processes: `serve` at one end of a link, a workload at the other. */

import type { Backing } from "../../ffi/memory.ts";
import type { WorkloadOptions } from "../../workload/options.ts";
import type { Mode } from "../../server/sending/mode.ts";
import type { DestinationReport, DestinationSetup } from "../workload_destination.ts";
import { BenchProcess } from "./bench_process.ts";
import { type CpuPlacement, placementPrefix } from "./cpu_placement.ts";
import type { Link } from "./link.ts";
import { runServe, type Served } from "./serve.ts";

const DESTINATION = new URL("../workload_destination.ts", import.meta.url);

/** What to migrate, and how. */
export interface MigrationSetup {
  /** Where the two ends are. */
  readonly link: Link;
  /** On which CPUs. */
  readonly placement: CpuPlacement;
  /** Path of the image. */
  readonly image: string;
  /** Who sends requested pages. */
  readonly mode: Mode;
  /** Bytes a second of the background stream; 0 for no limit. */
  readonly maxBandwidth: number;
  /** What the guest does; undefined for one that touches nothing. */
  readonly workload?: WorkloadOptions;
  /** How the destination's memory is backed; default the destination's own. */
  readonly backing?: Backing;
  /** Credentials of both ends, as for `--tls-creds`; absent: in clear. */
  readonly tls?: string | undefined;
}

/** How it went. */
export interface MigrationResult extends Served {
  /** What the destination reported. */
  readonly destination: DestinationReport;
}

/**
 * Runs a migration to its end.
 *
 * @throws {Error} when either end fails
 */
export async function runMigration(setup: MigrationSetup): Promise<MigrationResult> {
  const { link, placement, image, mode, maxBandwidth, workload, backing, tls } = setup;
  const arrival: DestinationSetup = {
    host: link.destination.host,
    ...workload === undefined ? {} : { workload },
    ...backing === undefined ? {} : { backing },
    ...tls === undefined ? {} : { tls },
  };
  // It lives on until its report is read, so that the source is the only child to end meanwhile.
  await using destination = new BenchProcess(DESTINATION, {
    prefix: [...link.destination.prefix, ...placementPrefix(placement, "destination")],
    args: [JSON.stringify(arrival)],
  });
  const { port } = await destination.next<{ port: number }>();
  const served = await runServe({
    image,
    to: `tcp:${link.destination.host}:${port}`,
    mode,
    maxBandwidth,
    tls,
    prefix: [...link.source.prefix, ...placementPrefix(placement, "source")],
  });
  return { ...served, destination: await destination.next<DestinationReport>() };
}
