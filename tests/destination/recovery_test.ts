/** What a destination does when its connections break while the guest runs, and a source comes again. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import type { Socket } from "../../ffi/socket.ts";
import type { HostileSource } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { Random } from "../support/random.ts";
import { packer } from "./packer.ts";
import { ALL, BLOCKS, Recovering } from "./recovering.ts";

await keepThreads(...DESTINATION);

/** How a connection ends. */
const CUTS = ["main", "preempt", "both"] as const;
type Cut = typeof CUTS[number];

function cut(source: HostileSource, preempt: Socket, which: Cut): void {
  if (which !== "preempt") source.main.close();
  if (which !== "main") preempt.close();
}

/** Waits until the destination has hung up. */
async function hungUp(source: HostileSource): Promise<void> {
  await within("the destination to hang up", source.hear(() => false));
}

for (const which of CUTS) {
  Deno.test(
    `Destination whose source cuts ${which} and resumes asks again for what is missed, and completes`,
    leavingNoDescriptors(async () => {
      const { run, source } = await Recovering.start();
      await using _ = run;
      const preempt = await source.connectPreempt();
      run.touch(7);
      run.touch(101);
      await within("the requests", source.hear(({ requests }) => requests.length === 2));
      source.encodeUrgent([7]); // by which the channel is known
      await source.flushPreempt();
      source.encodePages([20, 21, 102]);
      await source.flush();
      await run.received(4);
      cut(source, preempt, which);
      await within("the pause", run.destination.waitFor("postcopy-paused"));
      if (which === "preempt") await hungUp(source); // the source may not have noticed
      const again = await run.ask();
      assertEquals(again.missing(), ALL.filter((page) => ![7, 20, 21, 102].includes(page)));
      run.assertHere(again);
      await run.resume(again);
      assertEquals(run.requested(again), [101]);
      assertEquals(run.destination.pauseReason, undefined);
      await run.complete(again, again.missing());
      const { pauses, recoveries } = run.destination.statistics();
      assertEquals([pauses, recoveries], [1, 1]);
    }),
  );
}

for (const when of ["before the main channel", "at once", "behind RESUME"] as const) {
  Deno.test(
    `Destination takes a preempt channel of a source that resumes which connects ${when}`,
    leavingNoDescriptors(async () => {
      const { run, source } = await Recovering.start();
      await using _ = run;
      run.touch(5);
      await within("the request", source.hear(({ requests }) => requests.length === 1));
      source.main.close();
      await within("the pause", run.destination.waitFor("postcopy-paused"));
      const again = run.source();
      if (when === "before the main channel") await again.connectPreempt();
      await again.connect();
      if (when === "at once") await again.connectPreempt();
      again.encodeRecovery();
      await again.flush();
      await within("the bitmaps", again.hear((_, { bitmaps }) => bitmaps.size === 2));
      await run.resume(again);
      if (when === "behind RESUME") await again.connectPreempt();
      again.encodeUrgent([5]);
      await again.flushPreempt();
      await run.received(1);
      await until("the thread to get on", () => run.waitedFor.length === 0);
      // Known now, it may end on its own no more.
      run.touch(6);
      await within("a request", again.hear(({ requests }) => requests.length === 2));
      again.encodeUrgent([6]);
      await again.flushPreempt();
      await run.received(2);
      await run.complete(again, ALL.filter((page) => page !== 5 && page !== 6));
    }),
  );
}

for (const left of [true, false]) {
  Deno.test(
    `Destination takes no page of a preempt channel that was accepted after its connection broke, ${
      left ? "and has left" : "and is there"
    }`,
    leavingNoDescriptors(async () => {
      const { run, source } = await Recovering.start();
      await using _ = run;
      source.main.close();
      await within("the pause", run.destination.waitFor("postcopy-paused"));
      const preempt = await source.connectPreempt();
      source.encodeUrgent([7, 8]);
      await source.flushPreempt();
      if (left) preempt.close();
      const again = await run.ask();
      await run.resume(again);
      assertEquals(again.missing(), ALL);
      run.touch(9);
      await within("the request", again.hear(({ requests }) => requests.length === 1));
      await again.connectPreempt();
      again.encodeUrgent([9]);
      await again.flushPreempt();
      await run.received(1);
      await run.complete(again, ALL.filter((page) => page !== 9));
      assertEquals(run.destination.statistics().pauses, 1);
    }),
  );
}

Deno.test(
  "Destination lets a source win that connects anew before the break is known here",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    run.touch(9);
    await within("the request", source.hear(({ requests }) => requests.length === 1));
    const paused = run.destination.waitFor("postcopy-paused").then(() =>
      run.destination.pauseReason
    );
    const again = await run.ask();
    assertMatch((await paused)!.message, /it has connected anew$/);
    await hungUp(source);
    // And again, in the middle of that.
    const third = await run.ask();
    await hungUp(again);
    await run.resume(third);
    await run.complete(third, third.missing());
  }),
);

Deno.test(
  "Destination tells a page that came whole in front of the cut from one that did not",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    source.encodePages([1, 2, 3, 4]);
    const bytes = source.stream.take();
    await source.flush(bytes.subarray(0, bytes.length - 13 - 1)); // one byte of page 4, its head and what follows
    await run.received(3); // what is in a socket is lost with it
    source.main.close();
    await within("the pause", run.destination.waitFor("postcopy-paused"));
    const again = await run.ask();
    assertEquals(ALL.filter((page) => !again.missing().includes(page)), [1, 2, 3]);
    run.assertHere(again);
    await run.resume(again);
    await run.complete(again, again.missing());
  }),
);

Deno.test(
  "Destination asks once for pages that threads touch while it is paused or a source resumes",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    run.touch(3);
    await within("the request", source.hear(({ requests }) => requests.length === 1));
    source.main.close();
    await within("the pause", run.destination.waitFor("postcopy-paused"));
    run.touch(110);
    const again = await run.ask();
    run.touch(50);
    await run.waiting(3);
    again.stream.command({ kind: "resume" });
    await again.flush();
    await within("all requests", again.hear(({ requests }) => requests.length === 3));
    assertEquals(run.requested(again), [3, 50, 110]);
    run.touch(51);
    await within("another", again.hear(({ requests }) => requests.length === 4));
    again.stream.command({ kind: "ping", value: 5 });
    await again.flush();
    await within("a PONG", again.hear(({ pongs }) => pongs.includes(5)));
    assertEquals(run.requested(again), [3, 50, 51, 110]);
    await run.complete(again, again.missing());
  }),
);

for (const seed of [1, 2, 3, 4, 5, 6]) {
  Deno.test(
    `Destination loses nothing and gets no page twice when connections are cut anywhere, seed ${seed}`,
    leavingNoDescriptors(async () => {
      const random = new Random(seed);
      const backing = random.pick(["anonymous", "memfd"] as const);
      let { run, source } = await Recovering.start({ backing });
      await using _ = run;
      let missing: readonly number[] = ALL;
      for (let round = 0; round < 12; round++) {
        if (random.oneIn(2)) run.touch(random.pick(ALL));
        const preempt = await source.connectPreempt();
        const some = missing.filter(() => random.oneIn(12));
        const urgent = some.filter(() => random.oneIn(3));
        source.encodePages(some.filter((page) => !urgent.includes(page)));
        source.encodeUrgent(urgent);
        const [main, records] = [source.stream.take(), source.records.take()];
        await source.flush(main.subarray(0, random.between(0, main.length)));
        await source.flushPreempt(records.subarray(0, random.between(0, records.length)));
        const which = random.pick(CUTS);
        // A preempt channel that never spoke is nobody's.
        cut(source, preempt, which === "preempt" && random.oneIn(2) ? "both" : which);
        if (!random.oneIn(3) && which !== "preempt") {
          await within("the pause", run.destination.waitFor("postcopy-paused"));
        }
        // A source that is cut while it resumes, and comes again.
        for (let cuts = random.below(3); cuts > 0; cuts--) {
          const begun = run.source();
          await begun.connect();
          begun.encodeRecovery();
          const bytes = begun.stream.take();
          await begun.flush(bytes.subarray(0, random.between(1, bytes.length)));
          if (random.oneIn(2)) begun.main.close();
        }
        source = await run.ask();
        run.assertHere(source);
        if (random.oneIn(3)) {
          source.main.close();
          source = await run.ask();
        }
        await run.resume(source);
        missing = source.missing();
        if (random.oneIn(4)) {
          source.main.close();
          source = await run.ask();
          await run.resume(source);
        }
      }
      await run.complete(source, missing);
    }),
  );
}

for (const decompressThreads of [0, 2]) {
  Deno.test(
    `Destination with ${decompressThreads} decompression threads has compressed pages in place that came whole before the cut`,
    leavingNoDescriptors(async () => {
      using pack = packer("zlib");
      const { run, source } = await Recovering.start({ decompressThreads });
      await using _ = run;
      const compressed = (pages: readonly number[], to: HostileSource) => {
        to.stream.sectionPart(2);
        to.stream.block("ram");
        for (const page of pages) {
          const bytes = pack(new Uint8Array(run.expected(page).buffer as ArrayBuffer));
          to.stream.compressedPage(page * 4096, bytes, 0, bytes.length);
        }
        to.stream.endOfSection();
        to.stream.sectionFooter(2);
        return to.flush();
      };
      const ram = ALL.filter((page) => page < BLOCKS.ram!);
      await compressed(ram.slice(0, 60), source);
      source.stream.sectionPart(2);
      source.stream.block("ram");
      source.stream.compressedPage(70 * 4096, new Uint8Array(100).fill(7), 0, 100); // damaged
      await source.flush();
      await within("the pause", run.destination.waitFor("postcopy-paused"));
      assertMatch(run.destination.pauseReason!.message, /cannot be decompressed/);
      const again = await run.ask();
      run.assertHere(again);
      // What was decompressed behind the damaged page's thread counts as well.
      assertEquals(ALL.filter((page) => !again.missing().includes(page)), ram.slice(0, 60));
      await run.resume(again);
      await compressed(ram.slice(60, 90), again);
      await run.complete(again, again.missing().filter((page) => page < 60 || page >= 90));
    }),
  );
}

Deno.test(
  "Destination tells a source that has not heard the end that nothing is missing, as often as it asks",
  leavingNoDescriptors(async () => {
    const { run, source } = await Recovering.start();
    await using _ = run;
    source.encodePages(ALL);
    source.encodeEnd();
    await source.flush();
    await within("the end", run.destination.finished);
    source.main.close(); // and has read nothing of what was said
    for (const cut of [3, 20, Infinity, Infinity]) {
      const late = run.source();
      await late.connect();
      late.encodeRecovery();
      const bytes = late.stream.take();
      await late.flush(bytes.subarray(0, Math.min(cut, bytes.length)));
      if (cut < Infinity) {
        late.main.close();
        continue;
      }
      await within("the bitmaps", late.hear((_, { bitmaps }) => bitmaps.size === 2));
      assertEquals(late.missing(), []);
      await late.connectPreempt();
      late.stream.command({ kind: "resume" });
      await late.flush();
      await within("the answer to RESUME", late.hear((_, { acks }) => acks.length === 1));
      late.encodeEnd();
      await late.flush();
      await within("SHUT", late.hear(({ shuts }) => shuts.length === 1));
      assertEquals([late.heard.shuts, late.resuming.acks], [[0], [1]]);
      late[Symbol.dispose]();
    }
    assertEquals(run.destination.status, "completed");
  }),
);
