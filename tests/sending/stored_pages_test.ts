/** Pages that must come from a disk: only the migration that needs them waits. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { MappedMemory } from "../../ffi/memory.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { StoredPages } from "../../server/sending/stored_pages.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, migrate } from "../support/migrate.ts";
import { lyingIn, SlowDisk } from "../support/slow_disk.ts";

const PAGE = 4096;
const PAGES = 1536;
const HUGE = 512 * PAGE;

/** Offset of a page near the end that is not zero, and not the first of its huge page. */
function lateDataPage(content: Uint8Array): number {
  for (let at = content.length - 100 * PAGE; at < content.length; at += PAGE) {
    if (content.subarray(at, at + PAGE).some((byte) => byte !== 0)) return at;
  }
  throw new Error("All pages are zero");
}

// What is not asked for takes a minute or more: the slow page is asked for before.
for (
  const [what, names, size, pages, maxPostcopyBandwidth] of [
    ["page", [], PAGE, PAGES, 1e5],
    ["huge page", ["ram"], HUGE, 32 * 512, 1e6],
  ] as const
) {
  Deno.test(
    `Source serves a migration beside one whose ${what} does not come from its disk, on one thread`,
    leavingNoDescriptors(async () => {
      await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 2, linger: 0 });
      using file = await TestImage.make({ ram: pages });
      using image = await openImage(file.path);
      const content = Deno.readFileSync(file.path);
      const slow = lateDataPage(content);
      using disk = new SlowDisk(content, slow);
      const served = withHugePages(lyingIn(disk.memory, image), names);
      using destination = await ScriptedHugeDestination.listen(served.layout, content);
      const options = { to: destination.address, pool, maxPostcopyBandwidth };
      await using source = new Source(served, options);
      const run = source.run();
      run.catch(() => {});
      const playing = destination.play(true);
      let slowly: unknown;
      const requests = () => source.statistics().ram["postcopy-requests"];
      try {
        await within("the guest to run", destination.when(() => destination.running));
        await destination.ask("ram", slow - slow % size, size);
        await until("the request to arrive", () => requests() === 1);
        using other = await TestImage.make({ ram: 600 });
        const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
        const moving = migrate(other.path, { guest, pool }, async (migrated) => {
          assertEachPageOnce(migrated);
          await guest.ended;
          assertEquals(await guest.check(), { pages: other.pages, wrongPages: 0 });
        });
        try {
          await within("the other migration to end", moving);
        } finally {
          slowly = [source.statistics().status, destination.preempt.complete.length];
          disk.answer(); // else, if it fails, it cannot end either
          await Promise.allSettled([moving]);
        }
        assertEquals(slowly, ["postcopy-active", 0]);
        for (let at = 0; at < content.length; at += size) await destination.ask("ram", at, size);
        const [{ ram }] = await within("the migration to end", Promise.all([run, playing]));
        assert(destination.complete, `Pages came: ${destination.received}`);
        assertEquals(ram.remaining, 0);
        assertEquals(ram.normal + ram.duplicate, pages);
      } finally {
        disk.answer();
        await within("the source to close", source.close());
      }
    }),
  );
}

for (const mode of ["preempt-full", "preempt", "vanilla"] as const) {
  for (const asked of [false, true]) {
    if (asked && mode === "preempt-full") continue; // above
    const what = asked ? "page that was asked for" : "next page";
    Deno.test(
      `Source in mode ${mode} has its one thread serve others while its ${what} does not come`,
      leavingNoDescriptors(async () => {
        await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
        using file = await TestImage.make({ ram: PAGES });
        using image = await openImage(file.path);
        const content = Deno.readFileSync(file.path);
        const slow = lateDataPage(content);
        using disk = new SlowDisk(content, slow);
        const served = lyingIn(disk.memory, image);
        using destination = await ScriptedHugeDestination.listen(served.layout, content);
        const limit = asked ? { maxPostcopyBandwidth: 1e5 } : {};
        await using source = new Source(served, {
          to: destination.address,
          pool,
          mode,
          stallTimeout: 120_000, // far longer than the other migration takes: the page is not read before
          ...limit,
        });
        const run = source.run();
        run.catch(() => {});
        const playing = destination.play(mode !== "vanilla");
        playing.catch(() => {});
        try {
          await within("the guest to run", destination.when(() => destination.running));
          if (asked) {
            await destination.ask("ram", slow, PAGE);
            const requests = () => source.statistics().ram["postcopy-requests"];
            await until("the request to arrive", () => requests() === 1);
          } else {
            // Pages are looked at 64 together, and those sent of which all are at hand.
            const before = Math.floor(slow / PAGE / 64) * 64;
            await within(
              "what is before it",
              destination.when(() => destination.received >= before),
            );
          }
          using other = await TestImage.make({ ram: 600 });
          const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
          const moving = migrate(other.path, { guest, pool, mode }, async (migrated) => {
            assertEachPageOnce(migrated);
            await guest.ended;
            assertEquals(await guest.check(), { pages: other.pages, wrongPages: 0 });
          });
          let unfinished = false;
          try {
            await within("the other migration to end", moving);
          } finally {
            unfinished = !destination.complete;
            disk.answer(); // else, if it fails, it cannot end either
            await Promise.allSettled([moving]);
          }
          assert(unfinished);
          // With a limit what is left would take minutes.
          for (let at = 0; at < content.length; at += PAGE) await destination.ask("ram", at, PAGE);
          await within("all pages", destination.when(() => destination.complete));
        } finally {
          disk.answer();
          await within("the source to close", source.close());
          await Promise.allSettled([playing]);
        }
      }),
    );
  }
}

Deno.test(
  "Source can be cancelled while its disk does not answer",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    const content = Deno.readFileSync(file.path);
    const slow = lateDataPage(content);
    using disk = new SlowDisk(content, slow);
    using destination = await ScriptedHugeDestination.listen(image.layout, content);
    const options = { to: destination.address, pool, maxPostcopyBandwidth: 1e5 };
    await using source = new Source(lyingIn(disk.memory, image), options);
    const run = source.run().then(() => "completed", ({ code }) => code);
    const playing = destination.play(true);
    try {
      await within("the guest to run", destination.when(() => destination.running));
      await destination.ask("ram", slow, PAGE);
      await until(
        "the request to arrive",
        () => source.statistics().ram["postcopy-requests"] === 1,
      );
      await within("the source to close", source.close());
      assertEquals(await run, "CANCELLED");
      await within("the destination to notice", playing);
    } finally {
      disk.answer();
    }
  }),
);

Deno.test("StoredPages has pages read that advice does not bring, and after some looks no more", () => {
  // As with a file system that has no page cache, a page is there when it was touched, and not before.
  using memory = MappedMemory.anonymous(PAGES * PAGE);
  memory.adviseSmallPages();
  const runs = [{ firstPage: 0, offset: 0 }];
  const flat = { imageAddress: memory.address, imageLength: memory.length, runs, pageSize: PAGE };
  const sleeps: number[] = [];
  const stored = new StoredPages(new PageLocator({ kind: "flat", ...flat }), 1e9);
  const end = performance.now() + 60_000;
  let page = 0;
  // On a busy machine reading takes long at times, as from a disk.
  for (let waits = 1; waits > 0; page++) {
    const before = sleeps.length;
    while (!stored.has(page, page + 1)) {
      sleeps.push(stored.await(page, page + 1));
      assert(performance.now() < end, `No page has come, after so many: ${page}`);
    }
    waits = sleeps.length - before;
  }
  assert(page > 3, `Pages: ${page}`);
  assert(sleeps.every((nanoseconds) => nanoseconds >= 50e3 && nanoseconds <= 1e6));
});
