/** Live migrations over multifd channels between our own ends; memory is compared byte for byte. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import type { MultifdOptions } from "../../server/multifd/multifd_settings.ts";
import { MODES } from "../../server/sending/mode.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { until } from "../support/deadline.ts";
import { migrateLive } from "./live_migration.ts";
import { DESTINATION, keepThreads, MULTIFD, PRECOPY, SOURCE } from "../support/kept_threads.ts";

await keepThreads(...SOURCE, ...DESTINATION, ...MULTIFD, PRECOPY);

const METHODS = ["none", "zlib", "zstd"] as const;

/** What the figures of any completed migration with multifd say. */
function assertFigures(
  { status, ram, multifd, threads }: LiveStatistics,
  how: MultifdOptions,
): void {
  assertEquals(status, "completed");
  assertEquals(ram.remaining, 0);
  const { channels, compression = "none" } = how;
  assertEquals([multifd!.channels, multifd!.compression], [channels, compression]);
  assertGreater(multifd!.bytes, 0);
  assertGreater(ram.transferred, multifd!.bytes);
  const names = threads.map(({ name }) => name).filter((name) => name.startsWith("multifd-"));
  assertEquals(names.length, channels);
}

for (const compression of METHODS) {
  for (const channels of [1, 4]) {
    Deno.test(
      `LiveSource moves a writing guest over ${channels} multifd channels (${compression})`,
      leavingNoDescriptors(async () => {
        const multifd = { channels, compression };
        const { source, destination } = await migrateLive({ postcopy: "never", burst: 5, multifd });
        assertFigures(source, multifd);
        assertGreater(destination["multifd-bytes"]!, source.multifd!.bytes);
      }),
    );
  }
}

for (const compression of METHODS) {
  Deno.test(
    `LiveSource sends three rounds over multifd channels (${compression}), of which none overtakes another`,
    leavingNoDescriptors(async () => {
      const multifd = { channels: 3, compression };
      // Nothing writes after the second round: what is left at the end of the third is known.
      const { source } = await migrateLive({
        postcopy: "never",
        downtimeLimit: 0,
        threads: 0,
        writes: { rounds: 2 },
        multifd,
      });
      assertFigures(source, multifd);
      assertEquals(source.ram["dirty-sync-count"], 3);
    }),
  );
}

for (const mode of MODES) {
  Deno.test(
    `LiveSource in mode ${mode} moves a writing guest by two rounds over multifd and postcopy`,
    leavingNoDescriptors(async () => {
      const multifd = { channels: 3, compression: "zstd" } as const;
      const { source, destination } = await migrateLive({
        postcopy: 2,
        downtimeLimit: 0,
        writes: { rounds: 2 },
        mode,
        multifd,
      });
      assertFigures(source, multifd);
      assertGreater(source.ram["postcopy-bytes"], 0);
      assertEquals(destination.duplicates, 0);
      assertEquals(destination.received, destination.pages);
    }),
  );
}

// Pages that are on channels when a round is broken off are older than what the guest writes until it stops: they
// must be at the destination before it is told what to forget.
Deno.test(
  "LiveSource lets no page of a round over multifd that is broken off come after its discard",
  leavingNoDescriptors(async () => {
    for (let run = 0; run < 4; run++) {
      const { destination } = await migrateLive({
        size: 8 << 20,
        multifd: { channels: 3, compression: METHODS[run % 3]!, ...run % 3 === 1 && { level: 9 } },
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
