/** Sources that hand a guest over once the destination has approved that. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import { Source } from "../../server/source.ts";
import { fillRegion } from "../live/live_migration.ts";
import { assertSameMemory, WritingGuest } from "../live/writing_guest.ts";
import { ModelledDestination } from "../multifd/modelled_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";

const MIB = 1 << 20;
const ON = { switchoverAck: true };

function regionOf(machine: string): LiveRegion {
  const region = new LiveRegion({ machine, blocks: [{ name: "ram", length: MIB }] });
  fillRegion(region);
  return region;
}

for (const machine of ["pc-q35-9.0", "pc-q35-11.0"]) {
  Deno.test(
    `LiveSource of a ${machine} goes on with rounds until the destination approves`,
    leavingNoDescriptors(async () => {
      using region = regionOf(machine);
      await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
      await using destination = new ModelledDestination("records", new Random(3));
      const how = { to: destination.address, postcopy: "never", ...ON } as const;
      await using source = new LiveSource(region, guest, how);
      const run = source.run();
      // The first round would have been the last.
      await until("rounds", () => source.statistics().ram["dirty-sync-count"] >= 4);
      assertEquals([source.status, guest.calls], ["active", []]);
      destination.approve();
      await within("the end", run);
      assertEquals(guest.calls, ["stop", "save"]);
    }),
  );
}

Deno.test(
  "LiveSource of a pc-q35-11.1 waits for no approval, which none of its devices asks for",
  leavingNoDescriptors(async () => {
    using region = regionOf("pc-q35-11.1");
    await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
    await using destination = new ModelledDestination("records", new Random(3));
    const how = { to: destination.address, postcopy: "never", ...ON } as const;
    await using source = new LiveSource(region, guest, how);
    await within("the end", source.run());
    assertEquals(guest.calls, ["stop", "save"]);
  }),
);

Deno.test(
  "LiveSource gives up a destination that does not approve, and the guest goes on",
  leavingNoDescriptors(async () => {
    using region = regionOf("pc-q35-9.0");
    await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
    await using destination = new ModelledDestination("records", new Random(3));
    const how = { to: destination.address, postcopy: "never", stallTimeout: 2000, ...ON } as const;
    await using source = new LiveSource(region, guest, how);
    const error = await within(
      "the failure",
      assertRejects(() => source.run(), MigrationError, "has not approved the switchover for 2 s"),
    );
    assertMatch(error.message, /--switchover-ack.*the guest goes on here$/);
    assertEquals(guest.calls, []);
  }),
);

Deno.test(
  "Source hands no guest over that the destination does not approve",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: 256 }, { machine: "pc-q35-9.0" });
    using image = await openImage(file.path);
    await using destination = new ModelledDestination("records", new Random(3));
    const how = { to: destination.address, multifd: { channels: 2 }, stallTimeout: 2000, ...ON };
    await using source = new Source(image, how);
    await within(
      "the failure",
      assertRejects(() => source.run(), MigrationError, "has not approved the switchover"),
    );
    assertEquals(source.ranNowhere, true);
  }),
);

Deno.test(
  "Source hands a guest over that the destination approves",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: 256 }, { machine: "pc-q35-9.0" });
    using image = await openImage(file.path);
    await using destination = new ModelledDestination("records", new Random(3));
    const how = { to: destination.address, multifd: { channels: 2 }, ...ON };
    await using source = new Source(image, how);
    const run = source.run();
    await until("the block list", () => destination.main.sections.length > 0);
    destination.approve();
    destination.approve(); // one too many, which QEMU takes no better than none
    const { status } = await within("the end", run);
    assertEquals(status, "completed");
  }),
);

/** How a guest goes over to a destination of ours. */
const WAYS: readonly (readonly [string, Omit<LiveSourceOptions, "to">])[] = [
  ["precopy", { postcopy: "never" }],
  ["postcopy at once", { postcopy: "now" }],
  ["two rounds and postcopy", { postcopy: 2, downtimeLimit: 0 }],
  ["multifd", { postcopy: "never", multifd: { channels: 2 } }],
];

for (const [way, how] of WAYS) {
  Deno.test(
    `LiveSource is approved by a Destination by ${way}, whatever the machine type`,
    leavingNoDescriptors(async () => {
      using region = regionOf("postcopy-live");
      await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
      const arrived = new StillGuest();
      const multifd = how.multifd === undefined ? {} : { multifdChannels: how.multifd.channels };
      await using destination = new Destination({ guest: arrived, ...ON, ...multifd });
      const to = await destination.listen(LOOPBACK);
      await using source = new LiveSource(region, guest, { to, ...how, ...ON });
      await within("both ends", Promise.all([source.run(), destination.finished]));
      assertSameMemory(arrived.blocks, guest.snapshot);
    }),
  );
}

Deno.test(
  "LiveSource says at once that a Destination does not approve, and the guest goes on",
  leavingNoDescriptors(async () => {
    using region = regionOf("postcopy-live");
    await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
    await using destination = new Destination({ guest: new StillGuest() });
    destination.finished.catch(() => {}); // the source goes away
    const to = await destination.listen(LOOPBACK);
    await using source = new LiveSource(region, guest, { to, ...ON });
    await within(
      "the refusal",
      assertRejects(
        () => source.run(),
        MigrationError,
        "Destination has switchover-ack off: give --switchover-ack there too",
      ),
    );
    assertEquals(guest.calls, []);
  }),
);
