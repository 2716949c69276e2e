/** Live migrations that go well: every policy, mode and backing; memory is compared byte for byte. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { MODES } from "../../server/sending/mode.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { migrateLive, twoBlocks } from "./live_migration.ts";
import { WritingGuest } from "./writing_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const MIB = 1 << 20;
/** Bytes a second at which the first round takes minutes: it is not over before a test is. */
const MINUTES = MIB / 8;

/** What the figures of any completed live migration say. */
function assertFigures(source: LiveStatistics): void {
  const { ram } = source;
  assertEquals(source.status, "completed");
  assertEquals(ram.remaining, 0);
  assertEquals(ram.total, 16 * MIB);
  assertEquals(ram["normal-bytes"], ram.normal * ram["page-size"]);
  assert(source.downtime! > 0 && source.downtime! < source["total-time"]);
  const parts = ram["precopy-bytes"] + ram["downtime-bytes"] + ram["postcopy-bytes"];
  assert(parts <= ram.transferred && parts > 0.99 * ram.transferred);
}

Deno.test(
  "LiveSource moves a writing guest by precopy alone",
  leavingNoDescriptors(async () => {
    const { source, destination } = await migrateLive({ postcopy: "never", burst: 5 });
    assertFigures(source);
    assertEquals(source.ram["postcopy-bytes"], 0);
    assertEquals(destination.requests, 0);
    assertEquals(destination.status, "completed");
  }),
);

const BACKINGS = ["anonymous", "memfd"] as const;

// Each mode with each backing, and each of the two ways with either.
for (const [index, mode] of MODES.entries()) {
  const [atOnce, later] = [BACKINGS[index % 2]!, BACKINGS[(index + 1) % 2]!];
  Deno.test(
    `LiveSource in mode ${mode} moves a writing guest to ${atOnce} memory by postcopy at once`,
    leavingNoDescriptors(async () => {
      const how = { postcopy: "now", mode, backing: atOnce } as const;
      const { source, destination } = await migrateLive(how);
      assertFigures(source);
      assertEquals(source.ram["precopy-bytes"], 0);
      assertEquals(source.ram.normal + source.ram.duplicate, destination.pages);
      assertEquals(destination.duplicates, 0);
    }),
  );

  Deno.test(
    `LiveSource in mode ${mode} moves a writing guest to ${later} memory by two rounds and postcopy`,
    leavingNoDescriptors(async () => {
      const { source, destination } = await migrateLive({
        postcopy: 2,
        downtimeLimit: 0,
        writes: { rounds: 2 },
        mode,
        backing: later,
      });
      assertFigures(source);
      assertEquals(source.ram["dirty-sync-count"], 2);
      assertGreater(source.ram["postcopy-bytes"], 0);
      assertEquals(destination.duplicates, 0);
      assertEquals(destination.received, destination.pages);
    }),
  );
}

Deno.test(
  "LiveSource switches to postcopy by itself when the guest writes faster than the link takes it",
  leavingNoDescriptors(async () => {
    // All of it in each round: as much is left as before, at whatever rate it is sent.
    const writes = { every: 1 };
    const { source } = await migrateLive({ writes, downtimeLimit: 0 });
    assertFigures(source);
    assertEquals(source.ram["dirty-sync-count"], 3);
    assertGreater(source.ram["postcopy-bytes"], 0);
    assertGreater(source.ram["dirty-pages-rate"], 0);
  }),
);

Deno.test(
  "LiveSource.startPostcopy switches in the first round",
  leavingNoDescriptors(async () => {
    const { source } = await migrateLive({
      maxBandwidth: MINUTES,
      during: async (source) => {
        await until("pages sent", () => source.statistics().ram.normal > 20);
        source.startPostcopy();
      },
    });
    assertFigures(source);
    assertEquals(source.ram["dirty-sync-count"], 1);
    assertGreater(source.ram["precopy-bytes"], 20 * 4096);
    // Pages that were never sent come once.
    assert(source.ram.normal * 4096 < 16 * MIB + source.ram["precopy-bytes"]);
  }),
);

Deno.test("LiveSource.startPostcopy is refused when the destination does not know of it", async () => {
  await migrateLive({
    postcopy: "never",
    burst: 1,
    during: (source) => {
      let message = "";
      try {
        source.startPostcopy();
      } catch (error) {
        message = (error as Error).message;
      }
      assert(message.startsWith("Cannot switch to postcopy"), message);
    },
  });
});

Deno.test("LiveSource ends precopy at once with a huge downtime limit", async () => {
  const { source } = await migrateLive({ downtimeLimit: 1e6 });
  assertFigures(source);
  assertEquals(source.ram["dirty-sync-count"], 1);
  assertEquals(source.ram["postcopy-bytes"], 0);
});

Deno.test("LiveSource with a downtime limit of 0 ends precopy once nothing is left", async () => {
  // Nothing writes after the second round: what is left at the end of the third is known.
  const { source } = await migrateLive({
    downtimeLimit: 0,
    postcopy: "never",
    threads: 0,
    writes: { rounds: 2 },
  });
  assertFigures(source);
  assertEquals(source.ram["dirty-sync-count"], 3);
  assertEquals(source.ram["downtime-bytes"], 0);
});

Deno.test("LiveSource tells its progress until the end", async () => {
  const seen: LiveStatistics[] = [];
  let watching: Promise<void> | undefined;
  await migrateLive({
    maxBandwidth: MINUTES,
    burst: 5,
    during: async (source) => {
      const thrice = Promise.withResolvers<void>();
      watching = (async () => {
        for await (const statistics of source) {
          seen.push(statistics);
          const copying = seen.filter(({ status, ram }) => status === "active" && ram.normal > 0);
          if (copying.length === 3) thrice.resolve();
        }
      })();
      await within("three reports of the first round", thrice.promise);
      source.startPostcopy(); // and so to the end
    },
  });
  await within("the last report", watching!);
  assertEquals(seen.at(-1)!.status, "completed");
  const sent = seen.map(({ ram }) => ram.transferred);
  assertEquals(sent, sent.toSorted((a, b) => a - b));
  assertEquals(seen.at(-1)!.ram.remaining, 0);
});

for (const how of ["cancelled", "failed"] as const) {
  Deno.test(`LiveSource tells at the end of its progress that it ${how}`, async () => {
    using region = twoBlocks();
    await using guest = new WritingGuest(region.blocks, { burst: 20 });
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await using source = new LiveSource(region, guest, { to, maxBandwidth: MINUTES });
    const run = source.run().catch(() => {});
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { status } of source) seen.push(status);
    })();
    await until("pages sent", () => source.statistics().ram.normal > 0);
    if (how === "cancelled") source.cancel();
    else await destination.close();
    await within("the end", Promise.all([run, watching]));
    assertEquals(seen.at(-1), how);
  });
}
