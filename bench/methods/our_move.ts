/** A live migration between two processes of ours of a guest that rests. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { BenchProcess } from "../support/bench_process.ts";
import { type End, placementPrefix } from "../support/cpu_placement.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { LinkMeter } from "./link_use.ts";
import type { DestinationReport, DestinationSetup } from "./our_destination.ts";
import type { SourceReport, SourceSetup } from "./our_source.ts";
import type { CompressionFigures, Move, MoveFigures, Way } from "./way.ts";

const SOURCE = new URL("./our_source.ts", import.meta.url);
const DESTINATION = new URL("./our_destination.ts", import.meta.url);

function start({ link, placement }: Move, end: End, script: URL, setup: unknown): BenchProcess {
  const prefix = [...link[end].prefix, ...placementPrefix(placement, end)];
  return new BenchProcess(script, { prefix, args: [JSON.stringify(setup)] });
}

function compressionFigures({ compression }: LiveStatistics): CompressionFigures | undefined {
  return compression === undefined ? undefined : {
    pages: compression.pages,
    busyRate: compression["busy-rate"],
    compressedSize: compression["compressed-size"],
    compressionRate: compression["compression-rate"],
  };
}

/**
 * Starts a source and a destination of ours and moves the guest of one to the other.
 *
 * @throws {Error} when either end fails, or a byte is wrong at the destination
 */
export async function moveByUs(move: Move, { method, postcopy }: Way): Promise<MoveFigures> {
  const { link, rate, content, size } = move;
  const arrival: DestinationSetup = { host: link.destination.host, content };
  await using destination = start(move, "destination", DESTINATION, arrival);
  const { address: to } = await destination.next<{ address: SocketAddress }>();
  const departure: SourceSetup = {
    to,
    content,
    size,
    postcopy,
    ...method === undefined ? {} : { method },
  };
  await using source = start(move, "source", SOURCE, departure);
  await source.next();
  const before = await cpuSeconds(source.pid);
  using meter = new LinkMeter(link, rate, source.pid);
  const { statistics, stoppedAt } = await source.ask<SourceReport>({});
  const { share, flowing } = meter.end();
  const sourceCpu = await cpuSeconds(source.pid) - before;
  const { startedAt, cpu } = await destination.next<DestinationReport>();
  const total = statistics["total-time"]; // it ends when the destination confirms
  return {
    total,
    reportedTotal: total,
    downtime: (startedAt - stoppedAt) / 1e6,
    reportedDowntime: statistics.downtime,
    transferred: statistics.ram.transferred,
    compression: compressionFigures(statistics),
    linkUse: share,
    flowing,
    sourceCpu,
    destinationCpu: cpu,
  };
}
