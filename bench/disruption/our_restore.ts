/** One restore of a workload guest in a destination of ours by `serve`. */

import { BenchProcess } from "../support/bench_process.ts";
import { runServe } from "../support/serve.ts";
import type { Figures } from "./figures.ts";
import type { OurReport, OurSetup } from "./our_destination.ts";
import { GUEST_CPU, prefixOf } from "./placement.ts";
import type { RestoreSetup } from "./qemu_restore.ts";

const DESTINATION = new URL("./our_destination.ts", import.meta.url);

/** One thread writes to all of its memory, as the guest in QEMU that it stands beside does. */
const WORKLOAD = { threads: 1, pattern: "random", write: true } as const;

/**
 * Restores a workload guest.
 *
 * @param image path of its image
 * @param allFirst lets it run when all memory is there: what it loses then is the floor
 * @throws {Error} when either end fails, or a byte is wrong
 */
export async function restoreByUs(
  image: string,
  { placement, limit, timing, serveArgs }: RestoreSetup,
  allFirst: boolean,
): Promise<Figures> {
  const cpus = placement === "vcpu-alone" ? [GUEST_CPU] : [];
  const setup: OurSetup = { workload: { ...WORKLOAD, cpus }, allFirst, timing };
  // It lives on until its report is read, so that the source is the only child to end meanwhile.
  await using destination = new BenchProcess(DESTINATION, {
    prefix: prefixOf(placement, "destination"),
    args: [JSON.stringify(setup)],
  });
  const { port } = await destination.next<{ port: number }>();
  const { source, sourceCpu } = await runServe({
    image,
    to: `tcp:127.0.0.1:${port}`,
    mode: "preempt-full",
    maxBandwidth: allFirst ? 0 : limit,
    prefix: prefixOf(placement, "source"),
    ...serveArgs === undefined ? {} : { args: serveArgs },
  });
  const { seen, blocktime, faults, latency, total, cpu } = await destination.next<OurReport>();
  if (allFirst) return { seen };
  const running = source["time-to-run"];
  return { seen, blocktime, faults, latency, running, total, sourceCpu, destinationCpu: cpu };
}
