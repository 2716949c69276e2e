/**
 * Child process: has pages of a guest compressed and sent without end, and looks how much memory that
 * takes.
 *
 * Argument: {@linkcode AllocationJob} as JSON. Out, once it is over: {@linkcode AllocationReport}. Ends
 * with its standard input.
 *
 * @module
 */

import { answerLines, say } from "../support/bench_process.ts";
import { type CompressSetup, WrittenGuest } from "./written_guest.ts";

/** What to do. The guest must write faster than its memory is sent. */
export interface AllocationJob extends CompressSetup {
  /** Pages until the process is warm. */
  readonly warmPages: number;
  /** Pages between the two looks. */
  readonly pages: number;
}

/** What it took. */
export interface AllocationReport {
  /** Pages compressed and sent between the looks. */
  readonly pages: number;
  /** Resident bytes of the process at the first look. */
  readonly before: number;
  /** The same at the second. */
  readonly after: number;
}

/** Milliseconds between two looks at the count: each makes some garbage. */
const INTERVAL = 50;

async function measure(job: AllocationJob): Promise<AllocationReport> {
  await using running = await WrittenGuest.start(job);
  const { source } = running;
  const done = source.run();
  const ended = done.then(() => true, () => true);
  const sent = () => source.statistics().compression?.pages ?? 0;
  const until = async (pages: number): Promise<number> => {
    while (sent() < pages) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const interval = new Promise<false>((resolve) => {
        timer = setTimeout(() => resolve(false), INTERVAL);
      });
      const over = await Promise.race([ended, interval]);
      clearTimeout(timer);
      if (!over) continue;
      await done; // throws what ended it
      throw new Error(`Migration ended before so many pages were sent: ${pages}: write faster`);
    }
    return sent();
  };
  const first = await until(job.warmPages);
  const before = Deno.memoryUsage().rss;
  const last = await until(first + job.pages);
  const after = Deno.memoryUsage().rss;
  source.cancel();
  await ended;
  return { pages: last - first, before, after };
}

say(await measure(JSON.parse(Deno.args[0]!) as AllocationJob));
await answerLines(() => Promise.resolve({}));
Deno.exit(0);
