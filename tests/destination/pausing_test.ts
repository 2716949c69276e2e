/** When a destination pauses, is paused, and is found again. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { FAULT_TASK } from "../../client/faults/fault_task.ts";
import { MAIN_CHANNEL_TASK } from "../../client/incoming/main_channel_task.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { ALL, BLOCKS, Recovering } from "./recovering.ts";
import type { Resuming } from "./resuming_worker.ts";

/** Waits until the destination has hung up. */
async function hungUp(source: HostileSource): Promise<void> {
  await within("the destination to hang up", source.hear(() => false));
}

Deno.test(
  "Destination is paused by hand, as often as wanted, and resumed at another address",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    run.touch(4);
    await within("the request", source.hear(({ requests }) => requests.length === 1));
    run.destination.pause();
    assertEquals(run.destination.status, "postcopy-paused");
    assertMatch(run.destination.pauseReason!.message, /^Migration was paused from this side$/);
    run.destination.pause(); // it is
    await hungUp(source);
    assertEquals(await run.destination.recover(), run.to);
    assertEquals(await run.destination.recover(run.to), run.to);
    const first = await run.ask();
    run.destination.pause();
    await hungUp(first);
    run.to = await run.destination.recover(LOOPBACK);
    const second = await run.ask();
    await run.resume(second);
    run.destination.pause();
    await hungUp(second);
    const third = await run.ask();
    await run.resume(third);
    await run.complete(third, third.missing());
    const { pauses, recoveries } = run.destination.statistics();
    assertEquals([pauses, recoveries], [3, 2]);
    assertThrows(() => run.destination.pause(), MigrationError, "it is completed");
  }),
);

Deno.test(
  "Destination that cannot listen at another address says so, and goes on where it listens",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    using taken = await Listener.listen(LOOPBACK);
    const error = await assertRejects(() => run.destination.recover(taken.address), SyscallError);
    assertEquals(error.code, "EADDRINUSE");
    for (let count = 1; count < 8; count++) {
      await run.destination.recover(LOOPBACK);
      run.destination.pause(); // it takes them at its next look
      await within("the pause", run.destination.waitFor("postcopy-paused"));
    }
    const most = /listens at 8 places already, use one of them: tcp:127\.0\.0\.1:\d+, /;
    const refused = await assertRejects(() => run.destination.recover(LOOPBACK), MigrationError);
    assertMatch(refused.message, most);
    await hungUp(source);
    const again = await run.ask();
    await run.resume(again);
    await run.complete(again, again.missing());
  }),
);

Deno.test(
  "Destination whose guest does not run here is neither paused nor resumed, and sends away who would",
  leavingNoDescriptors(async () => {
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    const isSentAway = async () => {
      using other = new HostileSource(to, BLOCKS);
      await other.connect();
      other.encodeRecovery();
      await other.flush();
      await hungUp(other);
      assertEquals(other.resuming.bitmaps.size, 0);
    };
    const refused =
      /^Migration can be (?:paused|resumed) only while its guest runs here .*: it is /;
    assertMatch(assertThrows(() => destination.pause(), MigrationError).message, refused);
    await isSentAway();
    using source = new HostileSource(to, BLOCKS);
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    await source.flush();
    await until("the blocks", () => destination.statistics().pages > 0);
    await isSentAway();
    const error = await assertRejects(() => destination.recover(), MigrationError);
    assertMatch(error.message, refused);
    assertEquals(destination.status, "active");
    source.encodeSwitchover();
    source.encodePages(ALL);
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
  }),
);

/** What no source says, with the reason for the pause. */
const WRONG: readonly {
  readonly name: string;
  readonly say: (source: HostileSource) => Promise<void>;
  readonly reason: RegExp;
}[] = [
  {
    name: "garbage",
    say: (source) => source.flush(new Uint8Array(8).fill(0x42)),
    reason: /the type of an element/,
  },
  {
    name: "an end with pages missing",
    say: (source) => {
      source.encodeEnd();
      return source.flush();
    },
    reason: /^Source ended without sending all pages, \d+ are missing$/,
  },
  {
    name: "a page outside its block",
    say: (source) => {
      source.stream.sectionPart(2);
      source.stream.block("video");
      source.stream.zeroPage(33 * 4096, 0);
      return source.flush();
    },
    reason: /^Page outside RAM block video/,
  },
  {
    name: "garbage behind a page on the preempt channel",
    say: async (source) => {
      await source.connectPreempt();
      source.encodeUrgent([41]);
      await source.flushPreempt();
      await source.flushPreempt(new Uint8Array(16).fill(0xff));
    },
    reason: /^Malformed /,
  },
];

for (const { name, say, reason } of WRONG) {
  Deno.test(
    `Destination is paused by ${name}, and a source that is right resumes`,
    leavingNoDescriptors(async () => {
      const { run, source } = await Recovering.start();
      await using _ = run;
      run.touch(40);
      await within("the request", source.hear(({ requests }) => requests.length === 1));
      await say(source);
      await within("the pause", run.destination.waitFor("postcopy-paused"));
      assertMatch(run.destination.pauseReason!.message, reason);
      await hungUp(source);
      assertEquals(source.heard.shuts, []);
      const again = await run.ask();
      await run.resume(again);
      await run.complete(again, again.missing());
    }),
  );
}

Deno.test(
  "Destination is paused by a source that asks for another guest's block, and the right one resumes",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    source.main.close();
    await within("the pause", run.destination.waitFor("postcopy-paused"));
    const wrong = run.source();
    await wrong.connect();
    wrong.stream.command({ kind: "receive-bitmap", block: "other" });
    await wrong.flush();
    await hungUp(wrong);
    await until("the reason", () => /other$/.test(run.destination.pauseReason?.message ?? ""));
    assertEquals(run.destination.status, "postcopy-paused");
    const again = await run.ask();
    await run.resume(again);
    await run.complete(again, again.missing());
  }),
);

for (
  const [what, { thread }] of [["fault", FAULT_TASK], [
    "main channel's",
    MAIN_CHANNEL_TASK,
  ]] as const
) {
  for (const backing of ["anonymous", "memfd"] as const) {
    Deno.test(
      `Destination whose ${what} thread dies goes on with another when a source resumes, ${backing}`,
      leavingNoDescriptors(async () => {
        await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
        const { run, source } = await Recovering.start({ pool, backing });
        await using _ = run;
        await source.connectPreempt();
        run.touch(60);
        run.touch(120);
        await within("the requests", source.hear(({ requests }) => requests.length === 2));
        source.encodeUrgent([60]);
        await source.flushPreempt();
        source.encodePages([1, 2, 3]);
        await source.flush();
        await run.received(4);
        pool.kill(thread);
        await within("the pause", run.destination.waitFor("postcopy-paused"));
        assertEquals((run.destination.pauseReason as MigrationError).code, "THREAD_DIED");
        await hungUp(source);
        run.touch(61);
        const again = await run.ask();
        assertEquals(again.missing(), ALL.filter((page) => ![1, 2, 3, 60].includes(page)));
        await again.connectPreempt();
        await run.resume(again);
        // A second time, another page.
        again.encodeUrgent([61]);
        await again.flushPreempt();
        await run.received(5);
        pool.kill(thread);
        await hungUp(again);
        const third = await run.ask();
        await run.resume(third);
        await run.complete(third, third.missing());
      }),
    );
  }
}

Deno.test(
  "Destination is resumed although its main thread waits for a page",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    const worker = new Worker(new URL("./resuming_worker.ts", import.meta.url), { type: "module" });
    try {
      const { promise: requests, resolve } = Promise.withResolvers<number[]>();
      worker.onmessage = ({ data }: MessageEvent<number[]>) => resolve(data);
      source.main.close();
      worker.postMessage({ to: run.to, blocks: BLOCKS } satisfies Resuming);
      // Nothing runs on this thread any more until the page is there.
      const found = run.guest.words(1)[7 * 1024 + 5]!;
      assertEquals(await within("the source", requests), [7]);
      await within("the end", run.destination.finished);
      assertEquals(found, run.expected(107)[5]);
      const { received, duplicates, pauses, recoveries } = run.destination.statistics();
      assertEquals([received, duplicates, pauses, recoveries], [ALL.length, 0, 1, 1]);
    } finally {
      worker.terminate();
    }
  }),
);

Deno.test(
  "Destination that is closed while a source resumes ends",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    source.main.close();
    const again = await run.ask();
    using silent = await Socket.connect(run.to);
    await within("the end", run.destination.close());
    await hungUp(again);
    assertEquals(await within("the end of the other", silent.receive(new Uint8Array(1))), 0);
    assertEquals(run.guest.calls, ["load", "start", "stop"]);
    await run[Symbol.asyncDispose]();
  }),
);
