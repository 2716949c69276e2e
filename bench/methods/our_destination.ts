/**
 * Child process: a destination with a guest that rests, and compares its memory with the content that
 * was to arrive.
 *
 * Argument: {@linkcode DestinationSetup} as JSON. First line out: `{"address":...}`; after the
 * migration: {@linkcode DestinationReport}. Ends with its standard input.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { viewMemory } from "../../ffi/memory.ts";
import type { GuestMemory } from "../../migration/guest.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { checkSameBytes } from "./same_bytes.ts";
import { SETTINGS } from "./way.ts";

/** What to expect. */
export interface DestinationSetup {
  /** Where to listen. */
  readonly host: string;
  /** File of the guest's memory. */
  readonly content: string;
}

/** How it went; every byte was right. */
export interface DestinationReport {
  /** When the guest was started, monotonic nanoseconds of this host. */
  readonly startedAt: number;
  /** CPU seconds from listening to the last page. */
  readonly cpu: number;
}

if (import.meta.main) {
  const { host, content } = JSON.parse(Deno.args[0]!) as DestinationSetup;
  let memory: GuestMemory | undefined;
  let startedAt = 0;
  await using destination = new Destination({
    guest: {
      load: (_, loaded) => void (memory = loaded),
      start: () => void (startedAt = monotonicNanoseconds()),
      stop() {},
    },
    decompressThreads: SETTINGS.decompressThreads,
  });
  const address = await destination.listen({ transport: "tcp", host, port: 0 });
  const before = await cpuSeconds(Deno.pid);
  say({ address });
  const paused = destination.waitFor("postcopy-paused").then(
    () => Promise.reject(destination.pauseReason),
    () => new Promise<never>(() => {}), // it never paused
  );
  await Promise.race([destination.finished, paused]);
  const cpu = await cpuSeconds(Deno.pid) - before;
  const block = memory!.blocks[0]!;
  const bytes = viewMemory(block.address, block.length);
  checkSameBytes(content, (at, length) => bytes.subarray(at, at + length), block.length);
  const report: DestinationReport = { startedAt, cpu };
  say(report);
  await answerLines(() => Promise.resolve({}));
}
