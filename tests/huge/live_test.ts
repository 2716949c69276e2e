/** Live migrations of guests on huge pages, from and to huge pages. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { MODES } from "../../server/sending/mode.ts";
import { fillRegion } from "../live/live_migration.ts";
import { assertSameMemory, WritingGuest } from "../live/writing_guest.ts";
import { type Writes, writingPrecopy } from "../live/writing_precopy.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const MIB = 1 << 20;
/** Host pages of the guest; as many are needed at the destination. */
const HOST_PAGES = 8;

/** How to migrate, and what to do meanwhile. */
interface Live extends Omit<LiveSourceOptions, "to"> {
  readonly burst?: number;
  /** What is written in a round for certain, whatever the guest's threads do; default nothing. */
  readonly writes?: Writes;
  readonly during?: (source: LiveSource) => Promise<void>;
}

function liveTest(name: string, options: Live, check: (source: LiveStatistics) => void): void {
  testUnless(
    needsHugePages(2 * HOST_PAGES),
    name,
    leavingNoDescriptors(async () => {
      const { burst = 0, during, writes, ...how } = options;
      using _granted = new GrantedHugePages(2 * HOST_PAGES);
      using region = new LiveRegion({
        blocks: [{ name: "low", length: 2 * HUGE }, { name: "high", length: 6 * HUGE }],
        pageSize: HUGE,
      });
      fillRegion(region);
      await using guest = new WritingGuest(region.blocks, { burst });
      // Reads a word of each page as soon as it runs, those that are sent last first.
      let sum = 0;
      const arrived = new StillGuest((arrived) => {
        for (let page = HOST_PAGES - 1; page >= 0; page--) {
          const [block, first] = page < 2 ? [0, 0] : [1, 2];
          sum += arrived.words(block)[((page - first + 1) * HUGE - 4096) / 4]!;
        }
      });
      const { multifd } = how;
      await using destination = new Destination({
        guest: arrived,
        ...multifd === undefined ? {} : { multifdChannels: multifd.channels },
      });
      const to = await destination.listen(LOOPBACK);
      const thread = writes === undefined ? undefined : writingPrecopy(writes);
      await using source = new LiveSource(region, guest, { ...how, to }, thread);
      const run = source.run();
      run.catch(() => {});
      await during?.(source);
      try {
        await within("both ends to complete", Promise.all([run, destination.finished]));
      } catch (cause) {
        const figures = JSON.stringify([source.statistics(), destination.statistics()]);
        throw new Error(`${(cause as Error).message}: ${figures}`, { cause });
      }
      assertSameMemory(arrived.blocks, guest.snapshot);
      assertEquals(arrived.blocks.map(({ pageSize }) => pageSize), [HUGE, HUGE]);
      const { received, pages, duplicates } = destination.statistics();
      assertEquals([received, pages, duplicates], [HOST_PAGES * 512, HOST_PAGES * 512, 0]);
      check(await run);
    }),
  );
}

liveTest(
  "LiveSource moves a writing guest on huge pages by precopy alone",
  { postcopy: "never", burst: 5, downtimeLimit: 5000 },
  ({ ram }) => assertEquals(ram["postcopy-bytes"], 0),
);

for (const mode of MODES) {
  liveTest(
    `LiveSource in mode ${mode} moves a writing guest on huge pages by postcopy at once`,
    // A minute for what the guest reads at once.
    { mode, postcopy: "now", maxPostcopyBandwidth: MIB / 4 },
    ({ ram }) => {
      assertLess(ram["precopy-bytes"], 4096);
      assertEquals(ram.normal + ram.duplicate, HOST_PAGES * 512);
      assertGreater(ram["postcopy-requests"], 0);
    },
  );

  liveTest(
    `LiveSource in mode ${mode} moves a writing guest on huge pages by two rounds and postcopy`,
    { mode, postcopy: 2, downtimeLimit: 0, writes: { rounds: 2, every: 512 } },
    ({ ram }) => {
      assertEquals(ram["dirty-sync-count"], 2);
      assertGreater(ram["postcopy-bytes"], 0);
    },
  );

  liveTest(
    `LiveSource in mode ${mode} switches in the middle of a huge page`,
    {
      mode,
      maxBandwidth: MIB / 2, // the first round takes half a minute
      burst: 5,
      during: async (source) => {
        await until("pages sent", () => source.statistics().ram.normal > 20);
        source.startPostcopy();
      },
    },
    ({ ram }) => {
      assertEquals(ram["dirty-sync-count"], 1);
      assertGreater(ram["precopy-bytes"], 0);
      assertGreater(ram["postcopy-bytes"], 0);
    },
  );
}

for (const compression of ["none", ...COMPRESSION_METHODS] as const) {
  const multifd = { channels: 3, compression };

  liveTest(
    `LiveSource moves a writing guest on huge pages over multifd (${compression})`,
    { postcopy: "never", burst: 5, downtimeLimit: 5000, multifd },
    ({ ram }) => assertEquals(ram["postcopy-bytes"], 0),
  );

  // A host page is on several channels, and none of it may come behind its discard.
  liveTest(
    `LiveSource over multifd (${compression}) switches in the middle of a huge page`,
    {
      maxBandwidth: MIB / 2,
      burst: 5,
      multifd,
      during: async (source) => {
        await until("pages sent", () => source.statistics().ram.normal > 20);
        source.startPostcopy();
      },
    },
    ({ ram }) => {
      assertEquals(ram["dirty-sync-count"], 1);
      assertGreater(ram["postcopy-bytes"], 0);
    },
  );
}

for (const method of COMPRESSION_METHODS) {
  liveTest(
    `LiveSource moves a writing guest on huge pages by two rounds and postcopy with ${method}`,
    {
      postcopy: 2,
      downtimeLimit: 0,
      writes: { rounds: 2, every: 512 },
      compress: { method, threads: 3 },
    },
    ({ ram, compression }) => {
      assertGreater(ram["postcopy-bytes"], 0);
      assertGreater(compression!.pages, 0);
    },
  );

  liveTest(
    `LiveSource with ${method} switches in the middle of a huge page`,
    {
      maxBandwidth: MIB / 8, // the first round takes half a minute, compressed
      burst: 5,
      compress: { method, threads: 3 },
      during: async (source) => {
        await until("pages sent", () => source.statistics().compression!.pages > 100);
        source.startPostcopy();
      },
    },
    ({ ram, compression }) => {
      assertEquals(ram["dirty-sync-count"], 1);
      assertGreater(ram["precopy-bytes"], 0);
      assertGreater(compression!.pages, 0);
    },
  );
}
