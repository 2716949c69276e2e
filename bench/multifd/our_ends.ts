/** Ends of ours, as the benchmark holds them. */

import { BenchProcess } from "../support/bench_process.ts";
import { type End as Side, placementPrefix } from "../support/cpu_placement.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import type { Departure, DestinationEnd, SourceEnd } from "./ends.ts";
import type { OurDestinationSetup } from "./our_destination.ts";
import type { OurSourceSetup } from "./our_source.ts";
import type { Move } from "./point.ts";

const SOURCE = new URL("./our_source.ts", import.meta.url);
const DESTINATION = new URL("./our_destination.ts", import.meta.url);

function start({ link, placement }: Move, side: Side, script: URL, setup: unknown): BenchProcess {
  const prefix = [...link[side].prefix, ...placementPrefix(placement, side)];
  return new BenchProcess(script, { prefix, args: [JSON.stringify(setup)] });
}

/**
 * Starts a source: of a guest that runs in it, or of an image.
 *
 * @param image that is served, if one is
 */
export async function startOurSource(move: Move, image?: string): Promise<SourceEnd> {
  const { channels, compression, content, size, rate } = move;
  const setup: OurSourceSetup = {
    ...image === undefined ? { content } : { image },
    size,
    rate,
    multifd: { channels, compression },
  };
  const child = start(move, "source", SOURCE, setup);
  await child.next();
  return {
    move: (to) => child.ask<Departure>(to),
    cpu: () => cpuSeconds(child.pid),
    digest: async () => {
      if (image !== undefined) return undefined;
      return (await child.ask<{ readonly digest: string }>("digest")).digest;
    },
    [Symbol.asyncDispose]: () => child.close(),
  };
}

/**
 * Starts a destination.
 *
 * @param begin where the guest's memory begins in its block
 */
export async function startOurDestination(
  move: Move,
  begin: number,
): Promise<DestinationEnd> {
  const { link, channels, size } = move;
  const setup: OurDestinationSetup = {
    host: link.destination.host,
    channels,
    start: begin,
    size,
  };
  const child = start(move, "destination", DESTINATION, setup);
  const { address } = await child.next<{ readonly address: string }>();
  let cpu = 0;
  return {
    address,
    arrived: async () => void ({ cpu } = await child.next<{ readonly cpu: number }>()),
    cpu: () => Promise.resolve(cpu),
    digest: async () => (await child.ask<{ readonly digest: string }>("digest")).digest,
    [Symbol.asyncDispose]: () => child.close(),
  };
}
