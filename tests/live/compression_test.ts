/** Live migrations that compress: methods, policies, modes, threads; memory is compared byte for byte. */
import "../support/native.ts";
import { Destination } from "../../client/destination.ts";
import { COMPRESSION, DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { COMPRESSION_METHODS, type CompressionMethod } from "../../migration/compression.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { until } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { migrateLive, twoBlocks } from "./live_migration.ts";
import { WritingGuest } from "./writing_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY, ...COMPRESSION);

/** What the figures of any completed migration with compression say. */
function assertFigures(source: LiveStatistics): void {
  const { ram, compression, threads } = source;
  assertEquals(source.status, "completed");
  assertEquals(ram.remaining, 0);
  assert(compression !== undefined);
  assertGreater(compression.pages, 0);
  assertGreater(compression["compression-rate"], 2);
  assertLess(compression["compressed-size"], ram.transferred);
  const all = compression.pages + compression.busy + compression.incompressible;
  assertEquals(compression["busy-rate"], compression.busy / all);
  const names = threads.map(({ name }) => name);
  assertEquals(names.slice(0, 4), ["precopy", "background", "return-path", "compress-0"]);
  assertGreater(threads.reduce((sum, thread) => sum + thread["cpu-time"], 0), 0);
}

for (const method of COMPRESSION_METHODS) {
  for (const [threads, wait] of [[1, false], [8, true]] as const) {
    const compress = { method, threads, wait };
    Deno.test(
      `LiveSource moves a writing guest by precopy with ${JSON.stringify(compress)}`,
      leavingNoDescriptors(async () => {
        const { source } = await migrateLive({ postcopy: "never", burst: 5, compress });
        assertFigures(source);
        if (wait) assertEquals(source.compression!.busy, 0);
      }),
    );
  }
}

for (
  const [mode, method] of [["preempt-full", "zlib"], ...MODES.map((mode) => [mode, "zstd"])] as [
    Mode,
    CompressionMethod,
  ][]
) {
  Deno.test(
    `LiveSource in mode ${mode} moves a writing guest by postcopy at once with ${method}`,
    leavingNoDescriptors(async () => {
      const { source, destination } = await migrateLive({
        postcopy: "now",
        mode,
        compress: { method, threads: 3 },
      });
      assertFigures(source);
      assertEquals(destination.duplicates, 0);
      const { ram, compression } = source;
      assertEquals(ram.normal + ram.duplicate + compression!.pages, destination.pages);
    }),
  );

  Deno.test(
    `LiveSource in mode ${mode} moves a writing guest by two rounds and postcopy with ${method}`,
    leavingNoDescriptors(async () => {
      const { source, destination } = await migrateLive({
        postcopy: 2,
        downtimeLimit: 0,
        writes: { rounds: 2 },
        mode,
        compress: { method, threads: 3 },
      });
      assertFigures(source);
      assertGreater(source.ram["postcopy-bytes"], 0);
      assertEquals(destination.duplicates, 0);
      assertEquals(destination.received, destination.pages);
    }),
  );
}

// Pages that are with the compression threads when a round is broken off are older than what the
// guest writes until it stops: they must be at the destination before it is told what to forget.
Deno.test(
  "LiveSource lets no compressed page of a round that is broken off come after its discard",
  leavingNoDescriptors(async () => {
    for (let run = 0; run < 3; run++) {
      const { destination } = await migrateLive({
        size: 8 << 20,
        compress: { method: "zlib", level: 9, threads: 8 },
        postcopy: "auto",
        downtimeLimit: 0,
        during: async (source, guest) => {
          const before = guest.writes;
          await until("the guest writes", () => guest.writes > before + 100);
          await until("pages are sent", () => source.statistics().ram.transferred > run * 20_000);
          source.startPostcopy();
        },
      });
      assertEquals(destination.duplicates, 0);
    }
  }),
);

Deno.test(
  "LiveSource sends pages as they are that do not shrink by an eighth",
  leavingNoDescriptors(async () => {
    // Level 0 of zlib stores.
    const { source } = await migrateLive({
      postcopy: "never",
      burst: 5,
      compress: { method: "zlib", level: 0 },
    });
    assertEquals(source.compression!.pages, 0);
    assertGreater(source.compression!.incompressible, 0);
    assertGreater(source.ram.normal, 0);
  }),
);

Deno.test(
  "LiveSource goes on with the guest when a migration with compression is cancelled in a round",
  leavingNoDescriptors(async () => {
    using region = twoBlocks();
    await using guest = new WritingGuest(region.blocks);
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await using source = new LiveSource(region, guest, {
      to,
      postcopy: "never",
      downtimeLimit: 0,
      compress: { method: "zstd", threads: 2 },
    });
    const run = source.run().then(() => "completed", (error) => error.code);
    await until("compressed pages are sent", () => source.statistics().compression!.pages > 0);
    source.cancel();
    assertEquals(await run, "CANCELLED");
    const before = guest.writes;
    await until("the guest writes on", () => guest.writes > before);
  }),
);

for (
  const [what, compress, message] of [
    ["a level that zlib does not have", { method: "zlib", level: 10 }, "from 0 to 9: 10"],
    ["a level that zstd does not have", { method: "zstd", level: 20 }, "from -7 to 19: 20"],
    ["no thread", { method: "zlib", threads: 0 }, "from 1 to 255: 0"],
  ] as const
) {
  Deno.test(
    `LiveSource refuses ${what}`,
    leavingNoDescriptors(async () => {
      using region = twoBlocks();
      await using guest = new WritingGuest(region.blocks);
      assertThrows(
        () => new LiveSource(region, guest, { to: LOOPBACK, compress }),
        RangeError,
        message,
      );
    }),
  );
}
