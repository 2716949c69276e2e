import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { FAULT_TASK } from "../../client/faults/fault_task.ts";
import { MAIN_CHANNEL_TASK } from "../../client/incoming/main_channel_task.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { MODES } from "../../server/sending/mode.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK, migrate } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

const PAGES = 64;
const ALL: readonly number[] = Array.from({ length: PAGES }, (_, page) => page);

/** A destination and the source that a test speaks for. */
interface Session {
  readonly guest: StillGuest;
  readonly destination: Destination;
  readonly source: HostileSource;
  /** Code of the error with which it failed, once it has. */
  readonly failed: Promise<{ code: string; message: string }>;
}

async function connected(pool: ThreadPool, stack: AsyncDisposableStack): Promise<Session> {
  const guest = new StillGuest();
  const destination = stack.use(new Destination({ guest, pool }));
  const failed = destination.finished.then(
    () => ({ code: "NONE", message: "It completed" }),
    (error) => error,
  );
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES }));
  await source.connect();
  return { guest, destination, source, failed };
}

/** A session whose guest runs and has no page yet. */
async function running(pool: ThreadPool, stack: AsyncDisposableStack): Promise<Session> {
  const session = await connected(pool, stack);
  await session.source.switchOver();
  await within("the guest to start", session.destination.waitFor("postcopy-active"));
  return session;
}

/** Sees that the session's guest gets a page that it touches, and then all others. */
async function assertServed(session: Session, stack: AsyncDisposableStack): Promise<void> {
  const { guest, destination, source } = session;
  const thread = stack.use(new FaultingThread(guest.blocks[0]!.address + 7 * 4096));
  await within("a request", source.hear(({ requests }) => requests.length > 0));
  assertEquals(source.heard.requests[0]?.start, 7 * 4096, destination.pauseReason?.message);
  source.encodePages(ALL);
  source.encodeEnd();
  await source.flush();
  await within("completion", destination.finished);
  assertEquals(await thread.found(), guest.words()[7 * 1024 + 5]);
  await within("SHUT", source.hear(({ shuts }) => shuts.length > 0));
  assertEquals(source.heard.shuts, [0]);
}

Deno.test(
  "Destination needs no thread before it listens, and none after it is closed",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ linger: 0 });
    const destination = new Destination({ guest: new StillGuest(), pool });
    assertEquals(pool.threads, 0);
    await destination.listen(LOOPBACK);
    assert(pool.threads > 0);
    await destination.close();
    assertEquals(pool.threads, 0);
  }),
);

/** Its threads, by what they do. */
const THREADS = { "fault thread": FAULT_TASK, "main channel's thread": MAIN_CHANNEL_TASK };

for (const [what, { thread }] of Object.entries(THREADS)) {
  Deno.test(
    `Destination pauses when its ${what} dies while the guest runs, and those on other threads go on`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const pool = stack.use(new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 }));
      const other = stack.use(new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 }));
      const sessions = [await running(pool, stack), await running(pool, stack)];
      const untouched = await running(other, stack);
      for (const { source } of sessions) {
        // What the thread has accepted goes with it.
        await source.connectPreempt();
        source.encodeUrgent([1, 2]);
        await source.flushPreempt();
      }
      pool.kill(thread);
      for (const { destination, guest, source } of sessions) {
        await within("the pause", destination.waitFor("postcopy-paused"));
        const reason = destination.pauseReason as Error & { code: string };
        assertEquals(reason.code, "THREAD_DIED");
        assertEquals(
          reason.message,
          `Worker thread ${thread.pathname} failed, and all that it served with it: Thread was ended`,
        );
        // The source learns of it.
        await within("the end of the connection", source.hear(() => false));
        assertEquals(guest.calls, ["load", "start"]);
      }
      await assertServed(untouched, stack);
      // The dead thread is replaced.
      await assertServed(await running(pool, stack), stack);
    }),
  );

  Deno.test(
    `Destination fails when its ${what} dies before the guest runs`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const pool = stack.use(new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 }));
      const { destination, guest, source, failed } = await connected(pool, stack);
      source.encodeAdvise();
      source.encodeBlocks();
      await source.flush();
      await until("the blocks", () => destination.statistics().pages === PAGES);
      pool.kill(thread);
      const { code } = await within("the failure", failed);
      assertEquals([code, destination.status], ["THREAD_DIED", "failed"]);
      assertEquals(guest.calls, []);
      await within("the end of the connection", source.hear(() => false));
    }),
  );
}

Deno.test(
  "Destination that listens takes another thread when the one that it was prepared on died",
  leavingNoDescriptors(async () => {
    await using stack = new AsyncDisposableStack();
    const pool = stack.use(new ThreadPool({ urgentThreads: 1, linger: 0 }));
    const guest = new StillGuest();
    const destination = stack.use(new Destination({ guest, pool }));
    const to = await destination.listen(LOOPBACK);
    const { destination: first } = await running(pool, stack);
    pool.kill(FAULT_TASK.thread);
    await within("the pause", first.waitFor("postcopy-paused"));
    const source = stack.use(new HostileSource(to, { ram: PAGES }));
    await source.connect();
    await source.switchOver();
    await within("the guest to start", destination.waitFor("postcopy-active"));
    const failed = destination.finished.then(() => ({ code: "", message: "" }), (error) => error);
    await assertServed({ guest, destination, source, failed }, stack);
  }),
);

/** Connects again and again and says what no source says, or nothing, until it is told to stop. */
async function pester(to: SocketAddress, signal: AbortSignal): Promise<void> {
  const silent: Socket[] = [];
  while (!signal.aborted) {
    const socket = await Socket.connect(to).catch(() => undefined);
    if (socket === undefined) break;
    silent.push(socket);
    if (silent.length % 2 === 0) await socket.sendAll(new Uint8Array(9).fill(0x5a)).catch(() => {});
    if (silent.length > 24) silent.shift()!.close();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const socket of silent) socket.close();
}

Deno.test(
  "Destination shares one urgent and one bulk thread with others, and each gets its own guest byte for byte",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
    const sizes = [700, 300, 900, 500, 600, 400];
    using stack = new DisposableStack();
    const one = async (pages: number, index: number) => {
      const image = stack.use(await TestImage.make({ ram: pages, rom: 20 }, { seed: index + 1 }));
      const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
      const options = {
        pool,
        guest,
        mode: MODES[index % MODES.length]!,
        backing: index % 2 === 0 ? "anonymous" as const : "memfd" as const,
        // Some look again and again, the others have to sleep beside them.
        spin: index === 3 ? 50 : 0,
        maxPostcopyBandwidth: 2 << 20,
      };
      await migrate(image.path, options, async (migrated) => {
        assertEachPageOnce(migrated);
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
        assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
      });
    };
    // Beside them one that loses its source in the midst of it, with strangers at its door.
    const hostile = async () => {
      await using sessions = new AsyncDisposableStack();
      const guest = new StillGuest();
      const destination = sessions.use(new Destination({ guest, pool }));
      const to = await destination.listen(LOOPBACK);
      const source = sessions.use(new HostileSource(to, { ram: PAGES }));
      await source.connect();
      await source.switchOver();
      await within("the guest to start", destination.waitFor("postcopy-active"));
      const over = new AbortController();
      const pestering = pester(to, over.signal);
      for (const page of ALL.slice(0, 40)) {
        source.encodePages([page]);
        source.stream.command({ kind: "ping", value: 100 + page });
        await source.flush();
        await within("a PONG", source.hear(({ pongs }) => pongs.includes(100 + page)));
      }
      assertEquals(destination.statistics().received, 40);
      source[Symbol.dispose]();
      await within("the pause", destination.waitFor("postcopy-paused"));
      over.abort();
      await pestering;
    };
    await Promise.all([...sizes.map(one), hostile()]);
    assertEquals(pool.threads, 0);
  }),
);
