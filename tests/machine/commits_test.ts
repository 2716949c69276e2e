/** What loading costs in commits of the memory map, and who forces them. */
import { assert, assertEquals } from "@std/assert";
import type { LoadReport, LoadTransaction } from "../../workload/machine/machine.ts";
import type { MachineOptions } from "../../workload/machine/options.ts";
import { newMachine, PUBLISHED, setUpText, stoppedMachine } from "./machines.ts";

const IO_APIC = "ioapic: reads the interrupt remapping table";

function requestsOf(slot: string): string {
  return `0000:00:${slot}/vhost-user-blk: maps the buffers of its requests in flight`;
}

function load(options: MachineOptions, transaction: LoadTransaction): LoadReport {
  const { machine, memory } = stoppedMachine(options);
  return newMachine(options, memory).load(machine.save(), { transaction });
}

for (
  const [index, busy] of [["03.0", "03.1"], ["03.0", "03.1"], ["02.1"]].entries()
) {
  const options = PUBLISHED[index]!;
  Deno.test(`Machine.load of ${setUpText(options)} commits once, and when it is forced to`, () => {
    const { memory, forcedBy } = load(options, "one");
    assertEquals(forcedBy, [IO_APIC, ...busy.map(requestsOf)]);
    assertEquals(memory.forced, forcedBy.length);
    // Where the last device forces one, nothing is pending at the end.
    const last = options.blockDevices === busy.length;
    assertEquals(memory.commits, forcedBy.length + (last ? 0 : 1));
  });

  Deno.test(`Machine.load of ${setUpText(options)} per change commits each BAR by itself`, () => {
    const { memory, forcedBy } = load(options, "per-change");
    assertEquals(forcedBy, []);
    assertEquals(memory.forced, 0);
    const devices = options.netDevices! + options.blockDevices!;
    // Three BARs and the bus master bit of each; the platform's are always as many.
    assertEquals(memory.commits, 4 * devices + PLATFORM_COMMITS);
  });
}

/** Changes by ROM, chipset and VGA. */
const PLATFORM_COMMITS = 16;

Deno.test("Machine.load with no request in flight is forced by the I/O APIC alone", () => {
  const { memory, forcedBy } = load({ ...PUBLISHED[0], busyBlockDevices: 0 }, "one");
  assertEquals(forcedBy, [IO_APIC]);
  assertEquals(memory.commits, 2);
});

Deno.test("Machine.load with a request in flight on each device is forced by each", () => {
  const { forcedBy } = load({ ...PUBLISHED[0], busyBlockDevices: 16 }, "one");
  assertEquals(forcedBy.length, 17);
});

Deno.test("Machine.load in one transaction calls listeners far less than per change", () => {
  const options = PUBLISHED[0]!;
  const one = load(options, "one").memory;
  const perChange = load(options, "per-change").memory;
  assert(perChange.listenerCalls > 5 * one.listenerCalls);
  assert(perChange.rebuilds > 5 * one.rebuilds);
});

Deno.test("Machine.start and stop commit once each", () => {
  const { machine } = stoppedMachine(PUBLISHED[0]!);
  machine.memory.resetStatistics();
  machine.start();
  machine.stop();
  assertEquals(machine.memory.statistics.commits, 2);
});
