/** Requests of many migrations on one thread, and destinations that ask for more than they take. */
import "../support/native.ts";
import { assert, assertEquals, assertLess } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK, migrate } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** More than two sockets hold between them. */
const PAGES = 6144;
/** With what was asked for already, more than the ring of requests holds (16384). */
const ROUNDS = 8;
const SESSIONS = 9;
/** Looks, 2 ms or more apart, at a source that does nothing. */
const STILL = 100;

/** Waits until a source reads no more requests, and returns how many it has read. */
async function requestsAtRest(source: Source): Promise<number> {
  let still = 0;
  let before = 0;
  await until("the source to read no more requests", () => {
    const now = source.statistics().ram["postcopy-requests"];
    still = now > 0 && now === before ? still + 1 : 0;
    before = now;
    return still === STILL;
  });
  return before;
}

for (const mode of MODES) {
  Deno.test(
    `Source in mode ${mode} keeps requests of a destination that reads nothing, and sends every page once`,
    leavingNoDescriptors(async () => {
      using file = await TestImage.make({ ram: PAGES });
      using image = await openImage(file.path);
      const content = Deno.readFileSync(file.path);
      using destination = await ScriptedHugeDestination.listen(image.layout, content);
      // The background stream leaves nearly all pages to be asked for.
      const options = { to: destination.address, mode, maxPostcopyBandwidth: 1e6 };
      await using source = new Source(image, options);
      const run = source.run();
      const playing = destination.play(mode !== "vanilla");
      await within("the guest to run", destination.when(() => destination.running));
      const reading = Promise.withResolvers<void>();
      destination.hold(reading.promise);
      const asking = (async () => {
        for (let round = 0; round < ROUNDS; round++) {
          for (let page = PAGES - 1; page >= 0; page--) {
            await destination.ask("ram", page * 4096, 4096);
          }
        }
      })();
      assertLess(await requestsAtRest(source), ROUNDS * PAGES);
      reading.resolve();
      const [{ ram }] = await within("the migration to end", Promise.all([run, playing, asking]));
      assert(destination.complete, `Pages came: ${destination.received}`);
      assertEquals(ram.remaining, 0);
      assertEquals(ram.normal + ram.duplicate, PAGES);
    }),
  );
}

Deno.test(
  "Source serves more migrations at once than there are threads",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
    using image = await TestImage.make({ ram: 600 });
    const threads: number[] = [];
    await Promise.all(Array.from({ length: SESSIONS }, async (_, index) => {
      const guest = new class extends WorkloadGuest {
        override start(): void {
          threads.push(pool.threads);
          super.start();
        }
      }({ threads: 1, write: true, untilTouched: true });
      const mode = MODES[index % MODES.length]!;
      await migrate(image.path, { mode, guest, pool }, async (migrated) => {
        assertEachPageOnce(migrated);
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
        assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
      });
    }));
    assertEquals(threads.length, SESSIONS);
    assert(Math.min(...threads) > 0);
    assertLess(Math.max(...threads), SESSIONS);
    assertEquals(pool.threads, 0);
  }),
);

for (
  const [what, reads, length] of [
    ["pages and takes none", false, 4096],
    ["the same pages again and again", true, 4096],
    ["half of its memory again and again", true, PAGES / 2 * 4096],
  ] as const
) {
  Deno.test(
    `Source serves a migration beside one whose destination asks for ${what}, on one thread`,
    leavingNoDescriptors(async () => {
      await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 2, linger: 0 });
      using file = await TestImage.make({ ram: PAGES });
      using image = await openImage(file.path);
      const content = Deno.readFileSync(file.path);
      using destination = await ScriptedHugeDestination.listen(image.layout, content);
      // What is not asked for takes minutes.
      const options = { to: destination.address, pool, maxPostcopyBandwidth: 1e5 };
      await using source = new Source(image, options);
      const run = source.run().then(() => "completed", ({ code }) => code);
      const playing = destination.play(true);
      await within("the guest to run", destination.when(() => destination.running));
      const reading = Promise.withResolvers<void>();
      if (!reads) destination.hold(reading.promise);
      let over = false;
      const flood = (async () => {
        for (let asked = 0; !over; asked++) {
          await destination.ask("ram", asked * length % (PAGES / 2 * 4096), length);
          // Asking does not wait where there is room, and the event loop has other things to do.
          if (asked % 256 === 0) await new Promise((resolve) => setTimeout(resolve));
        }
      })();
      try {
        const requests = () => source.statistics().ram["postcopy-requests"];
        await until("the flood to arrive", () => requests() > (reads ? PAGES : 0));
        if (!reads) await requestsAtRest(source);
        using other = await TestImage.make({ ram: 600 });
        const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
        await migrate(other.path, { guest, pool }, async (migrated) => {
          assertEachPageOnce(migrated);
          await guest.ended;
          assertEquals(await guest.check(), { pages: other.pages, wrongPages: 0 });
        });
        assertEquals(source.statistics().status, "postcopy-active");
      } finally {
        over = true;
        reading.resolve();
        await within("the source to close", source.close());
        await within("the flood to end", Promise.all([flood, playing]));
      }
      assertEquals(await run, "CANCELLED");
    }),
  );
}

Deno.test(
  "Source and LiveSource cost no thread before they run",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ linger: 0 });
    using file = await TestImage.make({ ram: 64 });
    using image = await openImage(file.path);
    using region = new LiveRegion({ blocks: [{ name: "ram", length: 64 * 4096 }] });
    const guest = { stop: () => {}, save: () => new Uint8Array(8), resume: () => {} };
    {
      await using _source = new Source(image, { to: LOOPBACK, pool });
      await using _live = new LiveSource(region, guest, { to: LOOPBACK, pool });
      assertEquals(pool.threads, 0);
    }
    let running = 0;
    const arriving = new StillGuest(() => running = pool.threads);
    await migrate(file.path, { guest: arriving, pool }, () => assert(running > 0));
    assertEquals(pool.threads, 0);
  }),
);
