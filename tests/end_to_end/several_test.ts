import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { MODES } from "../../server/sending/mode.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { assertEachPageOnce, LOOPBACK, migrate } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION);

Deno.test(
  "Source runs several migrations at once in one process, two of them of the same image",
  leavingNoDescriptors(async () => {
    using one = await TestImage.make({ ram: 2000 }, { seed: 1 });
    using other = await TestImage.make({ "pc.ram": 1500, "pc.rom": 40 }, { seed: 2 });
    await Promise.all([one, other, one].map(async (image, index) => {
      const guest = new WorkloadGuest({ threads: 2, write: true, untilTouched: true });
      await migrate(image.path, { mode: MODES[index]!, guest }, async (migrated) => {
        assertEachPageOnce(migrated);
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
        assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
      });
    }));
    one.assertUntouched();
    other.assertUntouched();
  }),
);

Deno.test(
  "Source and Destination move blocks of all sizes and kinds of content",
  leavingNoDescriptors(async () => {
    const random = new Random(5);
    for (let round = 0; round < 12; round++) {
      const blocks = Object.fromEntries(
        Array.from({ length: random.between(1, 12) }, (_, index) => [
          // Names up to the longest there can be.
          `block ${index}`.padEnd(random.oneIn(3) ? 255 : 8, "x"),
          random.oneIn(2) ? random.between(1, 40) : random.between(1, 700),
        ]),
      );
      // All pages zero, none, some.
      using image = await TestImage.make(blocks, {
        seed: round,
        zeroEvery: random.pick([0, 1, 2, 9]),
        repeats: random.pick([1, 1, 4, 64]),
      });
      const guest = new StillGuest();
      const options = {
        mode: random.pick(MODES),
        backing: random.pick(["anonymous", "memfd"] as const),
        maxPostcopyBandwidth: random.pick([0, 256 << 20]),
        spin: random.pick([0, 50]),
      };
      await migrate(image.path, { ...options, guest }, (migrated) => {
        assertEachPageOnce(migrated);
        image.assertEqualMemory(guest.blocks);
      });
    }
  }),
);

Deno.test(
  "Source sends what is asked for before the background stream gets there",
  leavingNoDescriptors(async () => {
    const pages = 1024;
    using image = await TestImage.make({ ram: pages }, { zeroEvery: 0 });
    const file = new Int32Array(Deno.readFileSync(image.path).buffer);
    // From the far end, while the stream comes from the near one at 16 pages a second.
    const order: number[] = [];
    const guest = new StillGuest((guest) => {
      const words = guest.words();
      for (let page = pages - 1; page >= 0; page--) {
        assert(words[page * 1024] === file[page * 1024]);
        order.push(page);
      }
    });
    const slow = { guest, maxPostcopyBandwidth: 64 << 10 };
    await migrate(image.path, slow, ({ destination }) => {
      assertEquals(order.length, pages);
      // Nearly every page came on the preempt channel, ahead of the hundreds before it.
      const least = pages / 2 * 4096;
      assert(destination["preempt-bytes"] >= least, `${destination["preempt-bytes"]}`);
      image.assertEqualMemory(guest.blocks);
    });
  }),
);

Deno.test("Destination listens at one address once", async () => {
  const { Destination } = await import("../../client/destination.ts");
  await using destination = new Destination({ guest: new StillGuest() });
  await destination.listen(LOOPBACK);
  const again = await within("the refusal", destination.listen(LOOPBACK).catch((error) => error));
  assertEquals(again.message, "A destination listens once: make another");
});
