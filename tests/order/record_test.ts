/** Noting what a guest asks for, and holding the background stream back meanwhile. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { pagesOf } from "./orders.ts";

/** Pages that the guest touches in this order, on the main thread, when it is started. */
const TOUCHED = [500, 3, 4, 5, 77, 599, 0, 2];
/** An hour: what is not asked for does not come before the test is over. */
const HOUR = 3_600_000;

/** Runs a guest that touches its pages, and calls `check` when it has; then ends the source. */
async function touching(
  options: Omit<SourceOptions, "to">,
  check: (source: Source, destination: Destination) => void | Promise<void>,
): Promise<void> {
  using file = await TestImage.make({ ram: 600 }, { zeroEvery: 0 });
  using image = await openImage(file.path);
  let sum = 0;
  const guest = new StillGuest((still) => {
    for (const page of TOUCHED) sum += still.words()[page * 1024]!;
  });
  await using destination = new Destination({ guest });
  const to = await destination.listen(LOOPBACK);
  await using source = new Source(image, { ...options, to, noteRequests: true });
  const run = source.run().catch(({ code }) => code);
  await until("the touches", () => guest.calls.includes("start") && sum !== 0);
  await check(source, destination);
  await within("the source to close", source.close());
  await run;
}

/** Sees that what was touched has come, and nothing else; a page is in place before it is counted. */
async function allReceived(destination: Destination): Promise<void> {
  await until("the pages", () => destination.statistics().received >= TOUCHED.length);
  assertEquals(destination.statistics().received, TOUCHED.length);
}

for (const mode of MODES) {
  Deno.test(
    `Source in mode ${mode} that holds the stream back sends and notes what is asked for, in order`,
    leavingNoDescriptors(() =>
      touching({ mode, holdBack: HOUR }, async (source, destination) => {
        assertEquals(pagesOf(source.requested()), TOUCHED.map((page) => `ram ${page}`));
        assertEquals(source.statistics().ram["postcopy-requests"], TOUCHED.length);
        // A page that was sent may be there before it is counted.
        await until("the count", () => source.statistics().ram.normal >= TOUCHED.length);
        assertEquals(source.statistics().ram.normal, TOUCHED.length);
        await allReceived(destination);
      })
    ),
  );
}

Deno.test(
  "Source that holds the stream back compares what is asked for with the order, and sends none of it",
  leavingNoDescriptors(() => {
    // Two that are touched, one of them twice in the order, and one that is not.
    const order = [5, 100, 500, 5].map((page) => ({ block: "ram", offset: page * 4096 }));
    return touching({ holdBack: HOUR, order }, async (source, destination) => {
      const figures = source.statistics().order;
      assertEquals(figures, { planned: 3, early: 0, late: 2, unasked: 1 });
      await allReceived(destination);
    });
  }),
);

Deno.test(
  "Source that holds the stream back does not wait for ever for a guest that is not loaded",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: 600 });
    using image = await openImage(file.path);
    // It answers what is asked before the guest, and not that the guest is loaded.
    let answers = true;
    using destination = await HostileDestination.listen({
      loading: () => answers = false,
      get pongs() {
        return answers;
      },
    });
    const patience = { stallTimeout: 2000, recoverTimeout: 0 };
    await using source = new Source(image, {
      to: destination.address,
      holdBack: HOUR,
      ...patience,
    });
    const run = source.run().catch(({ code }) => code);
    const playing = destination.play();
    playing.catch(() => {});
    assertEquals(await within("the source to fail", run), "STALLED");
  }),
);

Deno.test(
  "Source sends all that is left once it has held the stream back for long enough",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: 600 });
    using image = await openImage(file.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    const to = await destination.listen(LOOPBACK);
    await using source = new Source(image, { to, holdBack: 50 });
    const [sent] = await within("both ends", Promise.all([source.run(), destination.finished]));
    assertEquals(sent.ram.remaining, 0);
    assertGreater(sent["total-time"], 50);
    file.assertEqualMemory(guest.blocks);
  }),
);
