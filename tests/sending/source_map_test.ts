/** The map of a source's memory while its guest runs elsewhere. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

const PAGES = 640;
/** Pages that the guest touches when it is started. */
const TOUCHED = [500, 3, 4, 130];
/** An hour: what is not asked for does not come before the test is over. */
const HOUR = 3_600_000;

/** A list with so much in each of its ten elements. */
const each = (count: number): number[] => new Array(10).fill(count);
const sum = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

Deno.test(
  "Source's map shows what was asked for as sent, the rest as missing, and all as sent in the end",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES }, { zeroEvery: 0 });
    using image = await openImage(file.path);
    let touched = 0;
    const guest = new StillGuest((still) => {
      for (const page of TOUCHED) touched += still.words()[page * 1024]!;
    });
    await using destination = new Destination({ guest });
    const to = await destination.listen(LOOPBACK);
    await using source = new Source(image, { to, holdBack: HOUR, noteRequests: true });
    assertEquals(source.memoryMap(10).missing, each(64));
    const run = source.run().catch(({ code }) => code);
    await until("the touches", () => guest.calls.includes("start") && touched !== 0);
    const asked = [2, 0, 1, 0, 0, 0, 0, 1, 0, 0];
    const map = source.memoryMap(10);
    assertEquals(map.blocks, [{ name: "ram", pages: PAGES, "first-cell": 0, cells: 10 }]);
    assertEquals([map.asked, map.sent, map.requested], [asked, asked, each(0)]);
    assertEquals(map.missing, asked.map((count) => 64 - count));
    await within("the source to close", source.close());
    await run;
  }),
);

Deno.test(
  "Source's map of a completed migration has no page missing",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES, rom: 33 });
    using image = await openImage(file.path);
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await using source = new Source(image, { to });
    await within("the migration", Promise.all([source.run(), destination.finished]));
    const { blocks, missing, sent, requested } = source.memoryMap(100);
    assertEquals(blocks.map(({ name }) => name), ["ram", "rom"]);
    assertEquals([sum(sent), sum(missing), sum(requested)], [PAGES + 33, 0, 0]);
  }),
);
