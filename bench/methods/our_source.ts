/**
 * Child process: a source with a guest that rests on memory with a given content.
 *
 * Argument: {@linkcode SourceSetup} as JSON. First line out: `{"ready":true}`, once the memory is
 * filled; after the first line in: {@linkcode SourceReport}, once the migration is over. Ends with its
 * standard input.
 *
 * @module
 */

import { viewMemory } from "../../ffi/memory.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import type { LiveGuest } from "../../migration/guest.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { SETTINGS } from "./way.ts";

/** What to move, and how. */
export interface SourceSetup {
  /** Where the destination listens. */
  readonly to: SocketAddress;
  /** File of the guest's memory. */
  readonly content: string;
  /** Bytes of it. */
  readonly size: number;
  /** How pages are compressed; undefined: not at all. */
  readonly method?: CompressionMethod;
  /** True for a switch to postcopy at once. */
  readonly postcopy: boolean;
}

/** How it went. */
export interface SourceReport {
  /** The source's own statistics. */
  readonly statistics: LiveStatistics;
  /** When the guest was stopped, monotonic nanoseconds of this host. */
  readonly stoppedAt: number;
}

/** A guest whose processor is halted: nothing to stop, no state. */
const RESTING: LiveGuest = { stop() {}, save: () => new Uint8Array(0), resume() {} };

function options({ to, method, postcopy }: SourceSetup): LiveSourceOptions {
  const { level, compressThreads: threads, wait, downtimeLimit } = SETTINGS;
  return {
    to,
    downtimeLimit,
    postcopy: postcopy ? "now" : "never",
    ...method === undefined ? {} : { compress: { method, level, threads, wait } },
  };
}

/** Fills memory from a file; what is zero there is left untouched, as a guest leaves it. */
function fill(memory: Uint8Array, path: string): void {
  using file = Deno.openSync(path);
  const page = new Uint8Array(4096);
  for (let offset = 0; offset < memory.length; offset += page.length) {
    let done = 0;
    while (done < page.length) {
      const count = file.readSync(page.subarray(done));
      if (count === null) throw new Error(`Content is shorter than the memory: ${path}`);
      done += count;
    }
    if (page.some((byte) => byte !== 0)) memory.set(page, offset);
  }
}

if (import.meta.main) {
  const setup = JSON.parse(Deno.args[0]!) as SourceSetup;
  using region = new LiveRegion({ blocks: [{ name: "memory", length: setup.size }] });
  const { address, length } = region.blocks[0]!;
  fill(viewMemory(address, length), setup.content);
  await using source = new LiveSource(region, RESTING, options(setup));
  say({ ready: true });
  await answerLines(async (): Promise<SourceReport> => {
    const statistics = await source.run();
    return { statistics, stoppedAt: source.stoppedAt! };
  });
}
