/** Pages before the guest's start, requests in any order behind it: each page once, byte for byte. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { PageRun } from "../../server/order/page_run.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import {
  assertLacking,
  HELD,
  HOLE_PAGES,
  isHeld,
  LACKING,
  RAM_PAGES,
  writeLacking,
} from "../end_to_end/lacking_images.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { withDirectory } from "../image/captures.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK, migrate } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { randomOrder } from "./orders.ts";

const BLOCKS = { ram: 12 * 512, rom: 40, video: 512 };
const HOST_PAGES = 13;
const NO_HURRY = 60_000;

/** Asks for every host page, in random order, again and again until all have come. */
async function askForAll(
  destination: ScriptedHugeDestination,
  image: Image,
  random: Random,
): Promise<void> {
  const pages = image.layout.blocks.flatMap(({ name, usedLength, pageSize }) =>
    Array.from({ length: usedLength / pageSize }, (_, index) => ({
      name,
      start: index * pageSize,
      pageSize,
    }))
  );
  for (let at = pages.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [pages[at], pages[other]] = [pages[other]!, pages[at]!];
  }
  for (const { name, start, pageSize } of pages) await destination.ask(name, start, pageSize);
}

for (const mode of MODES) {
  for (const hugeBlocks of [[], ["ram", "video"]]) {
    for (const seed of [1, 2]) {
      Deno.test(
        `Source in mode ${mode} sends each page once, ${
          hugeBlocks.length === 0 ? "small" : "huge"
        }, an order before and requests at random behind, seed ${seed}`,
        leavingNoDescriptors(async () => {
          const random = new Random(seed);
          using file = await TestImage.make(BLOCKS);
          using opened = await openImage(file.path);
          const image = withHugePages(opened, hugeBlocks);
          const content = Deno.readFileSync(file.path);
          using destination = await ScriptedHugeDestination.listen(image.layout, content);
          const { runs } = randomOrder(random, BLOCKS, hugeBlocks.length === 0 ? 2000 : 5);
          const early = random.below(runs.length);
          const order = runs.map((run, place) => ({ ...run, early: place <= early }));
          // What is not asked for takes a second or two.
          const options = { mode, order, warm: NO_HURRY, maxPostcopyBandwidth: 20 << 20 };
          await using source = new Source(image, { to: destination.address, ...options });
          const playing = destination.play(mode !== "vanilla");
          const asking = destination.when(() => destination.running)
            .then(() => askForAll(destination, image, random));
          const [statistics] = await within(
            "the migration to end",
            Promise.all([source.run(), playing, asking]),
          );
          assert(destination.complete, `Pages came: ${destination.received}`);
          assertEquals([destination.main.open, destination.preempt.open], ["", ""]);
          const { ram, order: figures } = statistics;
          assertEquals(ram.normal + ram.duplicate, file.pages);
          assertGreater(figures!.early, 0);
        }),
      );
    }
  }

  testUnless(
    needsHugePages(HOST_PAGES),
    `Source in mode ${mode} serves writers on huge pages of which some went before, compressed too`,
    leavingNoDescriptors(async () => {
      using file = await TestImage.make(BLOCKS, { repeats: 4 });
      for (const method of [undefined, ...COMPRESSION_METHODS]) {
        using _granted = new GrantedHugePages(HOST_PAGES);
        const guest = new WorkloadGuest({ threads: 3, write: true, untilTouched: true });
        await using destination = new Destination({ guest });
        const to = await destination.listen(LOOPBACK);
        using opened = await openImage(file.path);
        const image = withHugePages(opened, ["ram", "video"]);
        const { runs } = randomOrder(new Random(31), BLOCKS, 6);
        await using source = new Source(image, {
          to,
          mode,
          order: runs,
          warm: NO_HURRY,
          maxPostcopyBandwidth: 30e6,
          ...method === undefined ? {} : { compress: { method, threads: 2 } },
        });
        const [sent] = await within("both ends", Promise.all([source.run(), destination.finished]));
        const { received, pages, duplicates } = destination.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        assertEquals(sent.order!.early, sent.order!.planned);
        assertGreater(sent.order!.early, 511);
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
        assertEquals(await guest.check(), { pages: file.pages, wrongPages: 0 });
      }
    }),
  );
}

Deno.test(
  "Source sends orders of several migrations before their guests run, on threads that they share",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
    using image = await TestImage.make(BLOCKS);
    await Promise.all(Array.from({ length: 8 }, async (_, index) => {
      const { runs, pages } = randomOrder(new Random(index), BLOCKS, 600);
      const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
      const mode = MODES[index % MODES.length]!;
      const options = { mode, guest, pool, order: runs, warm: NO_HURRY };
      await migrate(image.path, options, async (migrated) => {
        assertEachPageOnce(migrated);
        assertEquals(migrated.source.order!.early, pages);
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
        assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
      });
    }));
  }),
);

/** Pages of which the image holds one in three, and others that it lacks. */
const LACKING_ORDER: readonly PageRun[] = [
  { block: "vmem", offset: 77 * 4096, length: 3 * 4096 },
  ...Array.from({ length: 300 }, (_, index) => ({ block: "ram", offset: index * 7 * 4096 })),
];
const PLANNED = 303;
const PLANNED_HELD = Array.from({ length: 300 }, (_, index) => index * 7).filter(isHeld).length;

for (const kind of LACKING) {
  for (const backing of ["anonymous", "memfd"] as const) {
    Deno.test(
      `Source sends before the guest runs what a ${kind} holds, names what it lacks, and that takes no ${backing} memory`,
      leavingNoDescriptors(() =>
        withDirectory(async (directory) => {
          const path = `${directory}/image`;
          const content = await writeLacking(kind, path);
          using image = await openImage(path);
          const guest = new StillGuest();
          await using destination = new Destination({ guest, backing });
          const to = await destination.listen(LOOPBACK);
          const options = { to, order: LACKING_ORDER, warm: NO_HURRY };
          await using source = new Source(image, options);
          const [{ ram, order }] = await within(
            "both ends",
            Promise.all([source.run(), destination.finished]),
          );
          assertEquals([ram.normal, ram.duplicate, ram.remaining], [HELD, 0, 0]);
          assertEquals([order!.planned, order!.early], [PLANNED, PLANNED_HELD]);
          assertLacking(destination, guest.blocks, content);
        })
      ),
    );
  }

  Deno.test(
    `Source sends a destination of ours of before no page early that would follow the names of what a ${kind} lacks`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const content = await writeLacking(kind, path);
        using image = await openImage(path);
        const bytes = new Uint8Array((RAM_PAGES + HOLE_PAGES) * 4096);
        bytes.set(content[0]!);
        using destination = await ScriptedHugeDestination.listen(image.layout, bytes);
        destination.understands = ["absent-pages"];
        const options = { to: destination.address, order: LACKING_ORDER, recoverTimeout: 0 };
        await using source = new Source(image, { ...options, warm: NO_HURRY });
        const run = source.run();
        run.catch(() => {}); // it is never confirmed: what was named does not come
        const playing = destination.play(true);
        playing.catch(() => {});
        await within("the end", destination.when(() => destination.ended));
        assertEquals(destination.received, HELD);
        assertEquals(source.statistics().order!.early, 0);
        await source.close();
        await playing;
      })
    ),
  );

  Deno.test(
    `Source sends a QEMU what its order has, though a ${kind} lacks it, and else nothing that it lacks`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const content = await writeLacking(kind, path);
        using image = await openImage(path);
        const bytes = new Uint8Array((RAM_PAGES + HOLE_PAGES) * 4096);
        bytes.set(content[0]!);
        using destination = await ScriptedHugeDestination.listen(image.layout, bytes);
        const options = { to: destination.address, order: LACKING_ORDER, recoverTimeout: 0 };
        await using source = new Source(image, { ...options, warm: NO_HURRY });
        const run = source.run();
        run.catch(() => {});
        const playing = destination.play(true);
        playing.catch(() => {});
        await within("the end", destination.when(() => destination.ended));
        assertEquals(destination.received, HELD + PLANNED - PLANNED_HELD);
        assertEquals(source.statistics().order!.early, PLANNED);
        await source.close();
        await playing;
      })
    ),
  );
}
