/** Sessions that compress, on the threads of one pool. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { DECOMPRESS_TASK } from "../../client/decompression/decompressor.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { COMPRESS_TASK } from "../../server/compression/page_compressor.ts";
import { Source } from "../../server/source.ts";
import { assertGoesOn } from "../live/unharmed.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { mapped, threads } from "./footprint.ts";
import { type ServedImage, Session, type SessionOptions } from "./session.ts";

const SESSIONS = 100;
const PAGES = 64;
/** Two at each end, and two that compress, and two that decompress. */
const THREADS = 4 + 2 + 2;
const MIB = 1 << 20;

/** Ways to compress, of sessions one after the other. */
const WAYS = [
  { method: "zlib" },
  { method: "zstd", threads: 2 },
  { method: "zlib", level: 6, threads: 1 },
  { method: "zstd", level: 5, threads: 16, wait: false },
] as const;

function pool(): ThreadPool {
  return new ThreadPool({ urgentThreads: 1, bulkThreads: 1, compressionThreads: 2, linger: 0 });
}

Deno.test(
  "ThreadPool compresses and decompresses for a hundred sessions at once on two threads each, and nothing of them stays",
  leavingNoDescriptors(async () => {
    const others = threads();
    using file = await TestImage.make({ ram: PAGES }, { repeats: 16 });
    using image = await openImage(file.path);
    await using own = pool();
    const open = (index: number, options: Partial<SessionOptions> = {}) =>
      Session.start({ file, image }, {
        pool: own,
        compress: WAYS[index % WAYS.length]!,
        mode: "vanilla",
        ...options,
      });
    {
      await using first = await open(0);
      await first.complete(); // what a process maps once is there
    }
    const before = mapped();
    {
      await using stack = new AsyncDisposableStack();
      const sessions: Session[] = [];
      for (let index = 0; index < SESSIONS; index++) sessions.push(stack.use(await open(index)));
      for (const session of sessions) await session.loads();
      assertEquals([own.threads, threads() - others], [THREADS, THREADS]);
      await Promise.all(sessions.map((session) => session.complete()));
      assertLessOrEqual(own.threads, THREADS);
      const compressed = sessions.map(({ source }) => source.statistics().compression!);
      assertEquals(compressed.filter(({ failed }) => failed > 0), []);
      assertGreater(compressed.reduce((sum, { pages }) => sum + pages, 0), SESSIONS * PAGES / 4);
    }
    await until("the threads to end", () => own.threads === 0 && threads() <= others);
    assertLess(mapped() - before, MIB / 2);
  }),
);

for (
  const [what, { thread }] of [["compress", COMPRESS_TASK], [
    "decompress",
    DECOMPRESS_TASK,
  ]] as const
) {
  Deno.test(
    `Sessions complete when the threads die that ${what} while the guest runs, and so do others and the next`,
    leavingNoDescriptors(async () => {
      using file = await TestImage.make({ ram: 1024 }, { repeats: 4 });
      using image = await openImage(file.path);
      const served: ServedImage = { file, image };
      await using hit = pool();
      await using spared = pool();
      const slow = { mode: "vanilla", maxPostcopyBandwidth: MIB } as const;
      await using one = await Session.start(served, { pool: hit, compress: WAYS[0], ...slow });
      await using two = await Session.start(served, { pool: hit, compress: WAYS[1], ...slow });
      await using other = await Session.start(served, { pool: spared, compress: WAYS[1], ...slow });
      for (const session of [one, two, other]) await session.runs();
      const compressed = ({ source }: Session) => source.statistics().compression!.pages;
      await until(
        "pages of both to come through",
        () => [one, two].every((session) => compressed(session) > 20),
      );
      const { threads: count } = hit;
      hit.kill(thread);
      await until("the threads to die", () => hit.threads < count);
      for (const session of [one, two, other]) await session.complete();
      await using next = await Session.start(served, {
        pool: hit,
        compress: WAYS[1],
        mode: "vanilla",
      });
      await next.complete();
      assertGreater(compressed(next), 0);
      file.assertUntouched();
    }),
  );
}

Deno.test(
  "LiveSource lets the guest run on when a thread that compresses dies in the first round",
  leavingNoDescriptors(() =>
    assertGoesOn({
      maxBandwidth: 1 << 17, // the first round takes minutes: it is not over before
      compress: { method: "zstd" },
      act: async ({ source }) => {
        await until("pages sent", () => source.statistics().compression!.pages > 20);
        ThreadPool.shared.kill(COMPRESS_TASK.thread);
      },
      calls: [],
      code: "THREAD_DIED",
      message:
        /compress_worker\.ts failed, and all that it served with it: Thread was ended: the guest goes on here$/,
    })
  ),
);

Deno.test(
  "Source that compresses needs no thread before it runs, and is closed without one",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    await using own = pool();
    const before = mapped();
    const to = { transport: "tcp", host: "127.0.0.1", port: 1 } as const;
    const source = new Source(image, { to, pool: own, compress: { method: "zlib", threads: 255 } });
    assertEquals(own.threads, 0);
    assertGreater(mapped() - before, 255 * 8 * 4096);
    await within("the source to close", source.close());
    assertEquals(own.threads, 0);
    assertLess(mapped() - before, MIB / 2); // stacks of threads come and go
  }),
);
