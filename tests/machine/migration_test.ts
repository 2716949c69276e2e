/** A machine that moves to another host, as a live migration does it. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { LiveMachine, MachineGuest } from "../../workload/machine/machine_guest.ts";
import { machineBlocks, type MachineOptions } from "../../workload/machine/options.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { assertSameMachine, TRANSACTIONS } from "./machines.ts";

const MIB = 2 ** 20;
const OPTIONS: MachineOptions = {
  netDevices: 3,
  netQueues: 4,
  blockDevices: 3,
  blockQueues: 2,
  ramBytes: 32 * MIB,
  maxRamBelow4G: 16 * MIB,
};

for (const postcopy of ["never", "now"] as const) {
  for (const transaction of TRANSACTIONS) {
    Deno.test(
      `A machine that runs arrives as it was stopped, ${transaction}, with postcopy ${postcopy}`,
      leavingNoDescriptors(async () => {
        using region = new LiveRegion({ blocks: machineBlocks(OPTIONS) });
        using guest = new LiveMachine(region.blocks, OPTIONS);
        const { machine } = guest;
        const there = new MachineGuest({ ...OPTIONS, debug: true }, transaction);
        await using destination = new Destination({ guest: there });
        const to = await destination.listen(LOOPBACK);
        await using source = new LiveSource(region, guest, { to, postcopy });
        await until("the machine to have done something", () => guest.done > 0);
        await within("both ends", Promise.all([source.run(), destination.finished]));
        const { arrived } = there;
        assertEquals([machine.status, arrived.status], ["stopped", "running"]);
        const forced = arrived.reader.forcedBy;
        assertEquals(forced.length, transaction === "one" ? 3 : 0, `${forced}`);
        arrived.stop();
        assertSameMachine(machine, arrived);
        assertEquals(arrived.save(), machine.save());
      }),
    );

    Deno.test(
      `A machine with other queues is refused, and the one that left runs on, ${transaction}, ` +
        `with postcopy ${postcopy}`,
      leavingNoDescriptors(async () => {
        using region = new LiveRegion({ blocks: machineBlocks(OPTIONS) });
        using guest = new LiveMachine(region.blocks, OPTIONS);
        const there = new MachineGuest({ ...OPTIONS, netQueues: 3 }, transaction);
        await using destination = new Destination({ guest: there });
        const to = await destination.listen(LOOPBACK);
        await using source = new LiveSource(region, guest, { to, postcopy });
        const failed = destination.finished.then(() => "", (error) => error.message);
        const run = source.run().then(() => "", (error) => error.message);
        assertMatch(await within("the destination", failed), /State is of another .*9 queues/);
        assertMatch(await within("the source", run), /the guest goes on here/);
        assertEquals(guest.machine.status, "running");
        assert(there.arrived.status !== "running");
      }),
    );
  }
}
