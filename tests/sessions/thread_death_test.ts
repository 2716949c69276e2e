/** Threads that die in mid-flight, with the sessions of both ends on them: each comes to a defined end. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { FAULT_TASK } from "../../client/faults/fault_task.ts";
import { MAIN_CHANNEL_TASK } from "../../client/incoming/main_channel_task.ts";
import { openImage } from "../../image/open_image.ts";
import type { GuestMemory } from "../../migration/guest.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Source } from "../../server/source.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { migrateLive, twoBlocks } from "../live/live_migration.ts";
import { assertGoesOn, type Attempt } from "../live/unharmed.ts";
import { assertSameMemory, WritingGuest } from "../live/writing_guest.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";
import { Session } from "./session.ts";

const PAGES = 64;

/** Module of a thread of the source. */
function serverThread(path: string): URL {
  return new URL(`../../server/${path}`, import.meta.url);
}

const REQUESTS = serverThread("sending/return_path_worker.ts");
const BACKGROUND = serverThread("sending/background_worker.ts");
const PRECOPY = serverThread("live/precopy_worker.ts");

/** What the owner of a thread's session is told. */
function died(thread: URL): string {
  return `Worker thread ${thread.pathname} failed, and all that it served with it: Thread was ended`;
}

function pool(): ThreadPool {
  return new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
}

/** Waits until the source has sent some and, if the guest runs, knows that. */
async function underWay({ source }: Session, running: boolean): Promise<void> {
  await until("pages sent, and the guest known to run", () => {
    const { ram, ...figures } = source.statistics();
    return ram.normal + ram.duplicate > 0 && (!running || (figures["time-to-run"] ?? 0) > 0);
  });
}

const THREADS = {
  "source's request thread": { thread: REQUESTS, atSource: true },
  "source's background thread": { thread: BACKGROUND, atSource: true },
  "destination's fault thread": { thread: FAULT_TASK.thread, atSource: false },
  "destination's main channel's thread": { thread: MAIN_CHANNEL_TASK.thread, atSource: false },
};

for (const [what, { thread, atSource }] of Object.entries(THREADS)) {
  for (const running of [false, true]) {
    Deno.test(
      `Sessions end at both ends when the ${what} dies ${
        running ? "while the guest runs" : "before the guest runs"
      }, others and the next go on`,
      leavingNoDescriptors(async () => {
        using file = await TestImage.make({ ram: PAGES });
        using image = await openImage(file.path);
        const served = { file, image };
        await using hit = pool();
        await using spared = pool();
        const slow = { maxPostcopyBandwidth: 1, recoverTimeout: 0 };
        await using one = await Session.start(served, { pool: hit, ...slow });
        await using two = await Session.start(served, { pool: hit, mode: "vanilla", ...slow });
        const quick = { pool: spared, touches: [PAGES - 1] };
        await using other = await Session.start(served, quick);
        const struck = [one, two];
        for (const session of [...struck, other]) await session.loads();
        if (running) { for (const session of struck) await session.runs(); }
        for (const session of struck) await underWay(session, running);
        hit.kill(thread);
        for (const { sent, arrived, destination, calls } of struck) {
          const [source, there] = await within("both ends to end", Promise.all([sent, arrived]));
          assertEquals(
            [source.code, there.code, destination.status],
            [
              ...atSource ? ["THREAD_DIED", "CONNECTION_LOST"] : ["CONNECTION_LOST", "THREAD_DIED"],
              running ? "postcopy-paused" : "failed",
            ],
          );
          assert((atSource ? source : there).message.startsWith(died(thread)), source.message);
          const lost =
            /: the guest ran at the destination already and lacks at least \d+ pages there/;
          assertEquals(lost.test(source.message), running, source.message);
          assertEquals(calls, running ? ["load", "start"] : ["load"]);
        }
        await other.complete();
        await using next = await Session.start(served, { ...quick, pool: hit });
        await next.complete();
        file.assertUntouched();
      }),
    );
  }
}

for (const [what, { thread }] of Object.entries(THREADS)) {
  Deno.test(
    `Sessions go on by themselves when the ${what} dies while the guest runs`,
    leavingNoDescriptors(async () => {
      using file = await TestImage.make({ ram: PAGES });
      using image = await openImage(file.path);
      await using own = pool();
      const guest = new StillGuest();
      await using destination = new Destination({ guest, pool: own });
      const to = await destination.listen(LOOPBACK);
      const log = new StatusLog();
      const slow = { maxPostcopyBandwidth: 1e5, pool: own, onStatus: log.add };
      await using source = new Source(image, { to, ...slow });
      const run = source.run();
      run.catch(() => {}); // awaited below
      await within("the guest to run", destination.waitFor("postcopy-active"));
      await until("pages sent", () => source.statistics().ram.normal > 0);
      own.kill(thread);
      await within("the pause", log.reached("postcopy-paused"));
      const { status } = await within("the source to complete", run);
      assertEquals(status, "completed");
      await within("the destination to complete", destination.finished);
      file.assertEqualMemory(guest.blocks);
      assertEquals(destination.statistics().duplicates, 0);
    }),
  );
}

/** The first round takes minutes: it is not over before a test is. */
const SLOW = { maxBandwidth: 1 << 17 };

/** Pages of the first round are under way. */
function copying(source: LiveSource): Promise<void> {
  return until("pages sent", () => source.statistics().ram.normal > 20);
}

for (const [what, thread] of [["precopy", PRECOPY], ["request", REQUESTS]] as const) {
  Deno.test(
    `LiveSource lets the guest run on when its ${what} thread dies in the first round`,
    leavingNoDescriptors(() =>
      assertGoesOn({
        ...SLOW,
        act: async ({ source }: Attempt) => {
          await copying(source);
          ThreadPool.shared.kill(thread);
        },
        calls: [],
        code: "THREAD_DIED",
        message: new RegExp(`^${RegExp.escape(died(thread))}: the guest goes on here$`),
      })
    ),
  );
}

Deno.test(
  "LiveSource does not need the background thread that dies before it has anything to do",
  leavingNoDescriptors(async () => {
    await using own = pool();
    await migrateLive({
      ...SLOW,
      pool: own,
      burst: 20,
      during: async (source) => {
        await copying(source);
        const { threads } = own;
        own.kill(BACKGROUND);
        await until("the thread to die", () => own.threads < threads);
        source.startPostcopy();
      },
    });
  }),
);

/** A guest that is held while it is loaded. */
class HeldGuest extends StillGuest {
  readonly loading: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly go: PromiseWithResolvers<void> = Promise.withResolvers();

  override async load(state: Uint8Array, memory: GuestMemory): Promise<void> {
    super.load(state, memory);
    this.loading.resolve();
    await this.go.promise;
  }
}

/** Postcopy at once, in which nearly all pages stay missing. */
const POSTCOPY = { postcopy: "now", maxPostcopyBandwidth: 1, recoverTimeout: 0 } as const;

Deno.test(
  "LiveSource resumes the guest when its background thread dies while it is loaded, and the destination gives it up",
  leavingNoDescriptors(async () => {
    const arriving = new HeldGuest();
    await assertGoesOn({
      ...POSTCOPY,
      arriving,
      act: async ({ source, destination }) => {
        await within("the guest to be loaded", arriving.loading.promise);
        await until("pages sent", () => source.statistics().ram.normal > 0);
        ThreadPool.shared.kill(BACKGROUND);
        await within("the destination to give up", destination!.finished.catch(() => {}));
        arriving.go.resolve();
      },
      calls: ["stop", "save", "resume"],
      code: "THREAD_DIED",
      message: new RegExp(`^${RegExp.escape(died(BACKGROUND))}: the guest goes on here$`),
    });
    assertEquals(arriving.calls, ["load"]);
  }),
);

for (
  const [what, thread, loaded, fate] of [
    ["request thread dies while it is loaded", REQUESTS, false, /: nobody can say whether/],
    ["request thread dies once it runs there", REQUESTS, true, /: the guest was loaded at the/],
    [
      "background thread dies once it runs there",
      BACKGROUND,
      true,
      /: the guest was loaded at the/,
    ],
  ] as const
) {
  Deno.test(
    `LiveSource keeps the guest stopped, and says so, when its ${what}`,
    leavingNoDescriptors(async () => {
      using region = twoBlocks();
      await using guest = new WritingGuest(region.blocks, { burst: 20 });
      const arriving = new HeldGuest();
      await using destination = new Destination({ guest: arriving });
      const to = await destination.listen(LOOPBACK);
      await using source = new LiveSource(region, guest, { to, ...POSTCOPY });
      const outcome = source.run().then(() => undefined, (error) => error);
      await within("the guest to be loaded", arriving.loading.promise);
      if (loaded) {
        arriving.go.resolve();
        await within("the guest to run", destination.waitFor("postcopy-active"));
        await until("the source to know", () => (source.statistics()["time-to-run"] ?? 0) > 0);
      }
      await until("pages sent", () => source.statistics().ram.normal > 0);
      ThreadPool.shared.kill(thread);
      const error = await within("the source to fail", outcome);
      assertEquals([error?.code, source.status], ["THREAD_DIED", "failed"]);
      assert(error.message.startsWith(died(thread)), error.message);
      assertMatch(error.message, fate);
      assertEquals(guest.calls, ["stop", "save"]);
      assertSameMemory(region.blocks, guest.snapshot);
      const ended = loaded
        ? destination.waitFor("postcopy-paused")
        : destination.finished.catch(() => {});
      await within("the destination to give up", ended);
      arriving.go.resolve();
      await destination.close();
      assertEquals(arriving.calls, loaded ? ["load", "start", "stop"] : ["load"]);
    }),
  );
}
