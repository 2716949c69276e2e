/** Live migrations that go well: every policy, mode and backing; memory is compared byte for byte. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { MODES } from "../../server/sending/mode.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { migrateLive, twoBlocks } from "./live_migration.ts";
import { WritingGuest } from "./writing_guest.ts";

const MIB = 1 << 20;

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

for (const backing of ["anonymous", "memfd"] as const) {
  for (const mode of MODES) {
    Deno.test(
      `LiveSource in mode ${mode} moves a writing guest to ${backing} memory by postcopy at once`,
      leavingNoDescriptors(async () => {
        const { source, destination } = await migrateLive({ postcopy: "now", mode, backing });
        assertFigures(source);
        assertEquals(source.ram["precopy-bytes"], 0);
        assertEquals(source.ram.normal + source.ram.duplicate, destination.pages);
        assertEquals(destination.duplicates, 0);
      }),
    );

    Deno.test(
      `LiveSource in mode ${mode} moves a writing guest to ${backing} memory by two rounds and postcopy`,
      leavingNoDescriptors(async () => {
        const { source, destination } = await migrateLive({
          postcopy: 2,
          downtimeLimit: 0,
          maxBandwidth: 128 * MIB, // a round takes so long that the guest has written something
          mode,
          backing,
        });
        assertFigures(source);
        assertEquals(source.ram["dirty-sync-count"], 2);
        assertGreater(source.ram["postcopy-bytes"], 0);
        assertEquals(destination.duplicates, 0);
        assertEquals(destination.received, destination.pages);
      }),
    );
  }
}

Deno.test(
  "LiveSource switches to postcopy by itself when the guest writes faster than the link takes it",
  leavingNoDescriptors(async () => {
    const { source } = await migrateLive({ maxBandwidth: 40 * MIB, downtimeLimit: 10 });
    assertFigures(source);
    assertGreater(source.ram["dirty-sync-count"], 2);
    assertGreater(source.ram["postcopy-bytes"], 0);
    assertGreater(source.ram["dirty-pages-rate"], 0);
  }),
);

Deno.test(
  "LiveSource.startPostcopy switches in the first round",
  leavingNoDescriptors(async () => {
    const { source } = await migrateLive({
      maxBandwidth: 8 * MIB,
      during: async (source) => {
        await until("pages sent", () => source.statistics().ram.normal > 100);
        source.startPostcopy();
      },
    });
    assertFigures(source);
    assertEquals(source.ram["dirty-sync-count"], 1);
    assertGreater(source.ram["precopy-bytes"], 100 * 4096);
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
  const { source } = await migrateLive({
    downtimeLimit: 0,
    postcopy: "never",
    maxBandwidth: 128 * MIB,
    during: async (source, guest) => {
      await until("another round", () => source.statistics().ram["dirty-sync-count"] > 1);
      await guest.rest();
    },
  });
  assertFigures(source);
  assertEquals(source.ram["downtime-bytes"], 0);
});

Deno.test("LiveSource tells its progress until the end", async () => {
  const seen: LiveStatistics[] = [];
  let watching: Promise<void> | undefined;
  await migrateLive({
    maxBandwidth: 40 * MIB,
    burst: 5,
    during: (source) => {
      watching = (async () => {
        for await (const statistics of source) seen.push(statistics);
      })();
    },
  });
  await watching;
  assertGreater(seen.length, 2);
  assertEquals(seen.at(-1)!.status, "completed");
  assert(seen.some(({ status, ram }) => status === "active" && ram.remaining > 0));
});

for (const how of ["cancelled", "failed"] as const) {
  Deno.test(`LiveSource tells at the end of its progress that it ${how}`, async () => {
    using region = twoBlocks();
    await using guest = new WritingGuest(region.blocks, { burst: 20 });
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await using source = new LiveSource(region, guest, { to, maxBandwidth: 8 * MIB });
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
