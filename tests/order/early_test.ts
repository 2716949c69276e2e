/** Pages that go before the guest runs, to a destination of ours. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { MODES } from "../../server/sending/mode.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, migrate } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { randomOrder } from "./orders.ts";

const BLOCKS = { ram: 4099, "0000:00:02.0/vga.vram": 33, "/rom@etc/table": 1, "pc.bios": 64 };
/** Milliseconds that no test waits for: all goes before the guest runs that may. */
const NO_HURRY = 60_000;

for (const mode of MODES) {
  for (const backing of ["anonymous", "memfd"] as const) {
    Deno.test(
      `Source in mode ${mode} sends an order before the guest runs, into ${backing} memory`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const random = new Random(5);
        const { runs, pages } = randomOrder(random, BLOCKS, 700);
        const guest = new StillGuest();
        const options = { mode, guest, backing, order: runs, warm: NO_HURRY };
        await migrate(image.path, options, (migrated) => {
          assertEachPageOnce(migrated);
          image.assertEqualMemory(guest.blocks);
          const { planned, early, late, unasked } = migrated.source.order!;
          assertEquals([planned, early, late, unasked], [pages, pages, 0, 0]);
          assertEquals(migrated.destination.requests, 0);
        });
      }),
    );

    Deno.test(
      `Source in mode ${mode} serves random writers whose pages went before in part, in ${backing} memory`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const { runs } = randomOrder(new Random(6), BLOCKS, 900);
        const half = runs.map((run, place) => ({ ...run, early: place < 450 }));
        const guest = new WorkloadGuest({ threads: 3, write: true, untilTouched: true });
        // What is not asked for takes long, so that the writers ask.
        const slow = { maxPostcopyBandwidth: 4 << 20 };
        const options = { mode, guest, backing, order: half, warm: 300, ...slow };
        await migrate(image.path, options, async (migrated) => {
          assertEachPageOnce(migrated);
          await guest.ended;
          assertEquals(guest.statistics().failures, []);
          assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
          const { planned, early, late, unasked } = migrated.source.order!;
          assertGreater(early, 0);
          assertEquals(planned, early + late + unasked);
        });
      }),
    );
  }

  for (const method of COMPRESSION_METHODS) {
    Deno.test(
      `Source in mode ${mode} sends an order compressed by ${method} before the guest runs`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS, { repeats: 4 });
        const { runs, pages } = randomOrder(new Random(8), BLOCKS, 1500);
        const guest = new StillGuest();
        const compress = { method, threads: 2 };
        const options = { mode, guest, compress, order: runs, warm: NO_HURRY };
        await migrate(image.path, options, (migrated) => {
          assertEachPageOnce(migrated);
          image.assertEqualMemory(guest.blocks);
          assertEquals(migrated.source.order!.early, pages);
          assertGreater(migrated.source.compression!.pages, 0);
        });
      }),
    );
  }
}

Deno.test(
  "Source leaves a page to be sent behind the guest's start when the order has all",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make(BLOCKS);
    const order = Object.entries(BLOCKS).map(([block, pages]) => ({
      block,
      offset: 0,
      length: pages * 4096,
    }));
    const guest = new StillGuest();
    await migrate(image.path, { guest, order, warm: NO_HURRY }, (migrated) => {
      assertEachPageOnce(migrated);
      image.assertEqualMemory(guest.blocks);
      const { planned, early } = migrated.source.order!;
      assertEquals([planned, early], [image.pages, image.pages - 1]);
    });
  }),
);

Deno.test(
  "Source sends no page before the guest runs in a time of 0",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make(BLOCKS);
    const { runs, pages } = randomOrder(new Random(9), BLOCKS, 500);
    const guest = new StillGuest();
    await migrate(image.path, { guest, order: runs, warm: 0 }, (migrated) => {
      assertEachPageOnce(migrated);
      image.assertEqualMemory(guest.blocks);
      const { planned, early, unasked } = migrated.source.order!;
      assertEquals([planned, early, unasked], [pages, 0, pages]);
    });
  }),
);
