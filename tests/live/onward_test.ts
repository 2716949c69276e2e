/** A guest that moves on from where it arrived. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { twoBlocks } from "./live_migration.ts";
import { assertSameMemory, WritingGuest } from "./writing_guest.ts";

for (const backing of ["anonymous", "memfd"] as const) {
  for (const postcopy of ["never", 1] as const) {
    Deno.test(
      `LiveSource moves a guest on from ${backing} memory where it arrived, with postcopy ${postcopy}`,
      leavingNoDescriptors(async () => {
        using region = twoBlocks();
        await using first = new WritingGuest(region.blocks, { burst: 20 });
        const midway = new StillGuest();
        await using halt = new Destination({ guest: midway, backing });
        const how = { postcopy, downtimeLimit: postcopy === 1 ? 0 : 300 };
        await using source = new LiveSource(region, first, {
          to: await halt.listen(LOOPBACK),
          ...how,
        });
        await within("the first move", Promise.all([source.run(), halt.finished]));
        assertSameMemory(midway.blocks, first.snapshot);

        using arrived = new LiveRegion({ blocks: midway.blocks });
        await using second = new WritingGuest(arrived.blocks, { burst: 20 });
        const last = new StillGuest();
        await using end = new Destination({ guest: last, backing });
        await using onward = new LiveSource(arrived, second, {
          to: await end.listen(LOOPBACK),
          ...how,
        });
        await within("the second move", Promise.all([onward.run(), end.finished]));
        assertSameMemory(last.blocks, second.snapshot);
        assertEquals(last.deviceState, second.state);
      }),
    );
  }
}
