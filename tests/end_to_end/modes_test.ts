import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertGreaterOrEqual, assertLess } from "@std/assert";
import { MODES } from "../../server/sending/mode.ts";
import { assertLessOrEqual } from "@std/assert";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { assertEachPageOnce, migrate } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assertMainThreadServed } from "./standing_still.ts";

await keepThreads(...SOURCE, ...DESTINATION);

const BACKINGS = ["anonymous", "memfd"] as const;
/** Sizes that fill no word of a bitmap, several blocks, one page alone. */
const BLOCKS = { ram: 4099, "0000:00:02.0/vga.vram": 33, "/rom@etc/table": 1, "pc.bios": 64 };

for (const mode of MODES) {
  for (const backing of BACKINGS) {
    Deno.test(
      `Source in mode ${mode} moves every byte of several blocks once into ${backing} memory`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const guest = new StillGuest();
        await migrate(image.path, { mode, guest, backing }, (migrated) => {
          assertEachPageOnce(migrated);
          assertGreater(migrated.source.ram.duplicate, 0);
          image.assertEqualMemory(guest.blocks);
          assertEquals(guest.blocks.map(({ name }) => name), Object.keys(BLOCKS));
        });
        assertEquals(guest.calls, ["load", "start", "stop"]);
        image.assertUntouched();
      }),
    );

    Deno.test(
      `Source in mode ${mode} serves threads that write at random while ${backing} memory arrives`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const guest = new WorkloadGuest({ threads: 3, write: true, untilTouched: true });
        await migrate(image.path, { mode, guest, backing }, async (migrated) => {
          assertEachPageOnce(migrated);
          await guest.ended;
          assertEquals(guest.statistics().failures, []);
          assertEquals(guest.statistics().touched, image.pages);
          assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
        });
      }),
    );
  }

  Deno.test(
    `Source in mode ${mode} serves the destination's main thread while its event loop stands still`,
    async () => {
      // 2 pages a second in the background: the guest gets its pages by asking.
      assertGreater(await assertMainThreadServed({ mode, maxPostcopyBandwidth: 8192 }), 0);
    },
  );

  Deno.test(
    `Source in mode ${mode} sends what is asked for past the limit of its background stream`,
    leavingNoDescriptors(async () => {
      const pages = 768;
      using image = await TestImage.make({ ram: pages }, { zeroEvery: 0 });
      // 2 pages a second: if requests had to wait for the limit, this would take minutes.
      const guest = new WorkloadGuest({ threads: 2, pattern: "once" });
      const slow = { mode, guest, maxPostcopyBandwidth: 8192 };
      await migrate(image.path, slow, async (migrated) => {
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
        assertEachPageOnce(migrated);
        const { ram } = migrated.source;
        const urgentPages = Math.round(ram["postcopy-bytes"] / 4096);
        assertGreater(urgentPages, pages / 2);
      });
    }),
  );

  Deno.test(
    `Destination counts a wait or more for each page that it asks for in mode ${mode}`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: 256 }, { zeroEvery: 0 });
      const guest = new WorkloadGuest({ threads: 3, pattern: "once" });
      // 2 pages a second: the guest must ask.
      await migrate(image.path, { mode, guest, maxPostcopyBandwidth: 8192 }, (migrated) => {
        const { faults, requests, ...figures } = migrated.destination;
        const waits = figures["postcopy-latency-dist"].reduce((sum, count) => sum + count, 0);
        assertGreater(requests, 0);
        assertGreaterOrEqual(waits, requests);
        assertLessOrEqual(waits, faults);
      });
    }),
  );
}

Deno.test(
  "Source and Destination have statistics that add up",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: 3000, rom: 100 });
    const guest = new WorkloadGuest({ threads: 2, pattern: "once" });
    await migrate(image.path, { guest, maxPostcopyBandwidth: 1 << 20 }, async (migrated) => {
      await guest.ended;
      assertEachPageOnce(migrated);
      const { source, destination } = migrated;
      const { ram } = source;
      assertEquals(ram.total, image.pages * 4096);
      assertEquals(ram["normal-bytes"], ram.normal * 4096);
      assertGreater(ram.transferred, ram["normal-bytes"]);
      // Heads and section frames are small beside the pages.
      assertLess(ram.transferred, ram["normal-bytes"] + image.pages * 64 + 100_000);
      assertEquals(destination["preempt-bytes"], ram["postcopy-bytes"]);
      assertGreaterOrEqual(
        destination["main-bytes"] + destination["preempt-bytes"],
        ram.transferred,
      );
      assertGreaterOrEqual(destination.requests, source["requests-served"]);
      assertGreaterOrEqual(destination.faults, destination.requests);
      const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
      assertEquals(sum(source["request-service-dist"]), source["requests-served"]);
      const threads = destination["postcopy-vcpu-latency"];
      const waits = sum(destination["postcopy-latency-dist"]);
      assertEquals(waits, sum(threads.map(({ count }) => count)));
      assertLess(waits, destination.faults + 1);
      assertGreater(waits, 0);
      const total = threads.reduce((time, { count, mean }) => time + count * mean, 0);
      assert(Math.abs(total / waits - destination["postcopy-latency"]) < 1);
      assertGreaterOrEqual(destination["postcopy-latency-max"], destination["postcopy-latency"]);
      assertGreaterOrEqual(source["total-time"], source["setup-time"]);
      assert(source["time-to-run"] !== undefined && destination["time-to-run"] !== undefined);
    });
  }),
);
