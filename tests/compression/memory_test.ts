import { assertLess } from "@std/assert";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { testUnless } from "../support/skip.ts";
import { type CodecJob, moveThrough } from "./codec_jobs.ts";
import { LIBRARIES } from "./libraries.ts";

/** Pages after which a library has all the memory that it takes. */
const WARM = 2000;
/** A million take 5 s a library, too long for every run: POSTCOPY_CODEC_PAGES=1000000 makes them. */
const MANY = Number(Deno.env.get("POSTCOPY_CODEC_PAGES") ?? 100_000);
const THREADS = 4;

for (const { method, library, index, skip } of LIBRARIES) {
  const name = library.library;

  testUnless(skip, `${name} leaves the process as large as it is, whatever it compresses`, () => {
    const job: CodecJob = { method, library: index, rounds: WARM, sparse: true, seed: 1 };
    moveThrough(job);
    const before = Deno.memoryUsage().rss;
    moveThrough({ ...job, rounds: MANY });
    const grown = Deno.memoryUsage().rss - before;
    assertLess(grown, 8 * 2 ** 20);
  });

  testUnless(skip, `${name} compresses and decompresses in four threads at once`, async () => {
    const entry = new URL("codec_worker.ts", import.meta.url);
    const threads = Array.from({ length: THREADS }, () => new WorkerThread<CodecJob, never>(entry));
    for (const [number, thread] of threads.entries()) {
      const seed = number * 1000;
      thread.run({ method, library: index, rounds: 1000, sparse: false, seed });
    }
    await Promise.all(threads.map((thread) => thread.ended));
  });
}
