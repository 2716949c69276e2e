/**
 * Child process: migrates a guest whose memory is written all the time.
 *
 * Argument: {@linkcode CompressJob} as JSON. Out, once it is over: {@linkcode CompressReport}. Ends
 * with its standard input.
 *
 * @module
 */

import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { type CompressSetup, WrittenGuest } from "./written_guest.ts";

/** What to do. */
export interface CompressJob extends CompressSetup {
  /** Milliseconds after which a migration that has not converged is cancelled. */
  readonly limit: number;
}

/** How it went. */
export interface CompressReport {
  /** False when it was cancelled at the limit. */
  readonly completed: boolean;
  /** The source's statistics. */
  readonly statistics: LiveStatistics;
  /** Pages that the guest wrote a second while it ran here. */
  readonly written: number;
}

async function migrate(job: CompressJob): Promise<CompressReport> {
  await using running = await WrittenGuest.start(job);
  const { source } = running;
  const begun = performance.now();
  const before = running.written;
  const timer = setTimeout(() => source.cancel(), job.limit);
  let completed = true;
  try {
    await source.run();
  } catch (error) {
    if ((error as { code?: unknown }).code !== "CANCELLED") throw error;
    completed = false;
  } finally {
    clearTimeout(timer);
  }
  const statistics = source.statistics();
  const seconds = (performance.now() - begun - (statistics.downtime ?? 0)) / 1000;
  return { completed, statistics, written: (running.written - before) / seconds };
}

say(await migrate(JSON.parse(Deno.args[0]!) as CompressJob));
await answerLines(() => Promise.resolve({}));
Deno.exit(0);
