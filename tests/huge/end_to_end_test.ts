import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { Destination, type DestinationOptions } from "../../client/destination.ts";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK, type Migrated } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";

await keepThreads(...SOURCE, ...DESTINATION);

/** Pages of each block; all but `rom` are on huge pages. */
const BLOCKS = { ram: 12 * 512, rom: 70, video: 512 };
const HOST_PAGES = 13;
const skip = needsHugePages(HOST_PAGES);

async function migrate(
  image: TestImage,
  mode: Mode,
  how: Omit<SourceOptions, "to" | "mode">,
  options: DestinationOptions,
  check: (migrated: Migrated) => void | Promise<void>,
): Promise<void> {
  using _granted = new GrantedHugePages(HOST_PAGES);
  await using destination = new Destination(options);
  const to = await destination.listen(LOOPBACK);
  using opened = await openImage(image.path);
  const huge = withHugePages(opened, ["ram", "video"]);
  await using source = new Source(huge, { to, mode, ...how });
  const [sent] = await within(
    "both ends to complete",
    Promise.all([source.run(), destination.finished]),
  );
  const received = destination.statistics();
  assertEquals([sent.status, received.status], ["completed", "completed"]);
  assertEquals([sent.ram.remaining, received.duplicates], [0, 0]);
  assertEquals([received.received, received.pages], [image.pages, image.pages]);
  const compressed = sent.compression?.pages ?? 0;
  assertEquals(sent.ram.normal + sent.ram.duplicate + compressed, image.pages);
  assertEquals(sent.ram["postcopy-requests"], received.requests);
  assert(received.requests <= HOST_PAGES + BLOCKS.rom, `Requests: ${received.requests}`);
  await check({ source: sent, destination: received });
}

for (const mode of MODES) {
  for (const backing of ["anonymous", "memfd"] as const) {
    testUnless(
      skip,
      `Source in mode ${mode} moves every byte into huge pages beside ${backing} memory`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const guest = new StillGuest();
        await migrate(image, mode, {}, { guest, backing }, () => {
          image.assertEqualMemory(guest.blocks);
        });
      }),
    );

    testUnless(
      skip,
      `Source in mode ${mode} serves threads that write at random to huge pages beside ${backing} memory`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const guest = new WorkloadGuest({ threads: 4, write: true, untilTouched: true });
        await migrate(
          image,
          mode,
          { maxPostcopyBandwidth: 3e5 }, // a minute for what they touch at once
          { guest, backing },
          async ({ destination }) => {
            assert(destination.requests > 0);
            await guest.ended;
            assertEquals(guest.statistics().failures, []);
            assertEquals(guest.statistics().touched, image.pages);
            assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
          },
        );
      }),
    );
  }

  // Compressed pages come out in any order, and a huge page is placed as a whole.
  for (const method of COMPRESSION_METHODS) {
    testUnless(
      skip,
      `Source in mode ${mode} serves threads that write at random to huge pages with ${method}`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS, { repeats: 4 });
        const guest = new WorkloadGuest({ threads: 4, write: true, untilTouched: true });
        const how = { maxPostcopyBandwidth: 30e6, compress: { method, threads: 3 } };
        await migrate(image, mode, how, { guest }, async ({ source }) => {
          assert(source.compression!.pages > 0);
          await guest.ended;
          assertEquals(guest.statistics().failures, []);
          assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
        });
      }),
    );
  }
}
