/** A live guest's rest goes in the order in which the guest is likely to need it. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { MODES } from "../../server/sending/mode.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { migrateLive } from "./live_migration.ts";

for (const mode of MODES) {
  Deno.test(
    `LiveSource in mode ${mode} sends first behind the switchover what was written lately`,
    leavingNoDescriptors(async () => {
      const { source, destination } = await migrateLive({
        postcopy: 3,
        downtimeLimit: 0,
        writes: { rounds: 3 },
        mode,
      });
      assertEquals(source.status, "completed");
      const { planned, early, late, unasked } = source.order!;
      assertGreater(planned, 0);
      assertEquals([early, planned], [0, late + unasked]);
      assertEquals([destination.received, destination.duplicates], [destination.pages, 0]);
    }),
  );
}

Deno.test(
  "LiveSource has no order when it switches to postcopy at once",
  leavingNoDescriptors(async () => {
    const { source } = await migrateLive({ postcopy: "now" });
    assertEquals(source.order, undefined);
  }),
);
