/** Connections that something between the ends breaks while the guest changes hands: it runs at one end. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import type { Guest } from "../../migration/guest.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";
import { twoBlocks } from "./live_migration.ts";
import { writingPrecopy } from "./writing_precopy.ts";
import { assertSameMemory, WritingGuest } from "./writing_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const MIB = 1 << 20;

/** How the connections end, as the source sees it, of a destination that goes on running the guest. */
const BREAKS = { "a firewall resets": true, "a tunnel closes": false };

for (const [what, resets] of Object.entries(BREAKS)) {
  for (const postcopy of ["never", 1] as const) {
    Deno.test(
      `LiveSource whose connections ${what} does not run a guest that runs there, with postcopy ${postcopy}`,
      leavingNoDescriptors(async () => {
        using region = twoBlocks(2 * MIB);
        await using guest = new WritingGuest(region.blocks, { burst: 20 });
        const arrived = new class extends StillGuest {
          override load(...args: Parameters<Guest["load"]>): void {
            // What it says from here on comes as far as the relay.
            for (const connection of relay.connections) connection.freeze("back");
            super.load(...args);
          }
        }();
        await using destination = new Destination({ guest: arrived });
        const address = await destination.listen(LOOPBACK);
        await using relay: FaultRelay = await FaultRelay.start(address, { resets });
        const how = { to: relay.address, mode: "vanilla", postcopy } as const;
        await using source = new LiveSource(region, guest, how);
        const run = source.run();
        run.catch(() => {});
        await until("the start there", () => arrived.calls.includes("start"));
        relay.cut();
        await within("both ends", Promise.all([run, destination.finished]));
        assertEquals([guest.calls, arrived.calls], [["stop", "save"], ["load", "start"]]);
        assertSameMemory(arrived.blocks, guest.snapshot);
      }),
    );
  }
}

Deno.test(
  "LiveSource lets the guest go on when a destination that had loaded it says that it does not run it",
  leavingNoDescriptors(async () => {
    using region = twoBlocks(2 * MIB);
    await using guest = new WritingGuest(region.blocks, { burst: 20 });
    using destination = await HostileDestination.listen();
    const how = { to: destination.address, mode: "vanilla", postcopy: 1 } as const;
    await using source = new LiveSource(region, guest, { ...how, downtimeLimit: 0 });
    const outcome = source.run().then(() => undefined, (error) => error);
    await within("the package", destination.play("package"));
    // What it has said is heard before the end of the connection.
    destination.main.close();
    const again = await within("the source to come again", destination.acceptPreempt());
    destination.say.shut(1);
    await again.sendAll(destination.say.take());
    const error = await within("the end", outcome);
    assertMatch(error?.message, /: the guest goes on here$/);
    assertEquals(guest.calls, ["stop", "save", "resume"]);
  }),
);

Deno.test(
  "LiveSource that is paused before the guest is loaded there says so, and goes on when it is told to",
  leavingNoDescriptors(async () => {
    using region = twoBlocks(2 * MIB);
    await using guest = new WritingGuest(region.blocks, { burst: 20 });
    const loading = Promise.withResolvers<void>();
    const arrived = new class extends StillGuest {
      override async load(...args: Parameters<Guest["load"]>): Promise<void> {
        await loading.promise;
        super.load(...args);
      }
    }();
    await using destination = new Destination({ guest: arrived });
    const to = await destination.listen(LOOPBACK);
    const log = new StatusLog();
    const how = { to, mode: "vanilla", postcopy: 1, downtimeLimit: 0, onStatus: log.add } as const;
    await using source = new LiveSource(region, guest, how, writingPrecopy({ rounds: 1 }));
    const outcome = source.run().then(() => undefined, (error) => error);
    await within("postcopy", log.reached("postcopy-active"));
    await within("the device state there", destination.waitFor("device"));
    source.pause();
    await within("the pause", log.reached("postcopy-paused"));
    loading.resolve();
    source.recover();
    const error = await within("the end", outcome);
    assertMatch(error?.message, /: the guest goes on here$/);
    assertEquals(guest.calls, ["stop", "save", "resume"]);
    assertEquals(arrived.calls.includes("start"), false);
  }),
);
