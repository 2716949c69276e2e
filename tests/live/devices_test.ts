/** A machine's devices on a live migration: saved in sections of their own, loaded in one transaction. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import type { GuestMachine, LiveGuest } from "../../migration/guest.ts";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { description, Devices, u32, u64 } from "../../migration/device/mod.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { twoBlocks } from "./live_migration.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const DEVICES = 12;

/** A bus of devices, each with a window into memory that its state says where to map. */
class Bus implements GuestMachine {
  readonly memory = new MemoryCore({ debug: true });
  readonly devices = new Devices();
  readonly space: AddressSpace;
  readonly states: { base: number; mapped: number; counter: bigint }[] = [];
  /** What a device does when it has been loaded. */
  afterLoad: (device: number) => void = () => {};

  constructor(version = 1) {
    const system = MemoryRegion.container(this.memory, "system", 2 ** 40);
    this.space = new AddressSpace(this.memory, "memory", system);
    for (let index = 0; index < DEVICES; index++) {
      const state = { base: 0, mapped: 0, counter: 0n };
      const window = MemoryRegion.io(this.memory, `window ${index}`, 4096);
      this.states.push(state);
      this.devices.add({
        name: `bus/${index}`,
        description: description({
          name: "bus-device",
          version,
          fields: { base: u32, mapped: u32, counter: u64 },
          postLoad: () => {
            if (state.mapped === 1) system.add(window, state.base);
            this.afterLoad(index);
          },
        }),
        state,
      });
    }
    this.memory.resetStatistics();
  }
}

/** A source's bus whose devices have something to say. */
function busyBus(): Bus {
  const bus = new Bus();
  bus.states.forEach((state, index) => {
    state.base = 0x1000_0000 + index * 0x2000;
    state.mapped = 1;
    state.counter = BigInt(index) << 40n;
  });
  return bus;
}

class BusGuest extends StillGuest {
  readonly machine: Bus;
  constructor(machine: Bus) {
    super();
    this.machine = machine;
  }
}

function source(bus: Bus, calls: string[]): LiveGuest {
  return {
    machine: bus,
    stop: () => void calls.push("stop"),
    save: () => {
      throw new Error("The devices are the state");
    },
    resume: () => void calls.push("resume"),
  };
}

for (const postcopy of ["never", "now"] as const) {
  Deno.test(
    `Destination loads all devices in one transaction, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      const from = busyBus();
      const to = new Bus();
      const calls: string[] = [];
      using region = twoBlocks();
      const guest = new BusGuest(to);
      await using destination = new Destination({ guest });
      const address = await destination.listen(LOOPBACK);
      await using live = new LiveSource(region, source(from, calls), { to: address, postcopy });
      const [sent] = await within("both ends", Promise.all([live.run(), destination.finished]));
      assertEquals(to.states, from.states);
      assertEquals(to.memory.statistics.commits, 1);
      assertEquals(to.memory.statistics.forced, 0);
      assertEquals(to.space.flatView().ranges.length, DEVICES);
      assertEquals([guest.calls, calls], [["load", "start"], ["stop"]]);
      const here = destination.statistics();
      const parts = Object.values(here["downtime-parts"]!);
      assert(parts.every((part) => part >= 0), `${parts}`);
      const sum = parts.reduce((all, part) => all + part, 0);
      assert(Math.abs(sum - here.downtime!) < 0.001, `${sum}, ${here.downtime}`);
      assert(here["downtime-parts"]!.commit > 0);
      const there = Object.values(sent["downtime-parts"]!).reduce((all, part) => all + part, 0);
      assert(Math.abs(there - sent.downtime!) < 0.001);
    }),
  );
}

Deno.test(
  "Destination commits what is pending when a device reads the map while others are loaded",
  leavingNoDescriptors(async () => {
    const from = busyBus();
    const to = new Bus();
    const seen: number[] = [];
    to.afterLoad = (device) => {
      if (device % 4 === 3) seen.push(to.space.flatView().ranges.length);
    };
    using region = twoBlocks();
    await using destination = new Destination({ guest: new BusGuest(to) });
    const address = await destination.listen(LOOPBACK);
    await using live = new LiveSource(region, source(from, []), { to: address, postcopy: "now" });
    await within("both ends", Promise.all([live.run(), destination.finished]));
    assertEquals(seen, [4, 8, 12]);
    assertEquals(to.memory.statistics.forced, 3);
  }),
);

const FAILURES: readonly [string, (to: Bus) => Bus, RegExp][] = [
  [
    "whose device cannot take its state",
    (to) => {
      to.afterLoad = (device) => {
        if (device === 7) throw new Error("No such queue: 9");
      };
      return to;
    },
    /bus\/7.*No such queue: 9/s,
  ],
  ["with older devices", () => new Bus(0), /bus\/0.*version/s],
];

for (const [what, broken, reason] of FAILURES) {
  for (const postcopy of ["never", "now"] as const) {
    Deno.test(
      `LiveSource lets the guest go on when a destination ${what} refuses it, postcopy ${postcopy}`,
      leavingNoDescriptors(async () => {
        const calls: string[] = [];
        const to = broken(new Bus());
        using region = twoBlocks();
        const guest = new BusGuest(to);
        await using destination = new Destination({ guest });
        const address = await destination.listen(LOOPBACK);
        await using live = new LiveSource(region, source(busyBus(), calls), {
          to: address,
          postcopy,
        });
        const failed = destination.finished.then(() => "", (error) => error.message);
        const run = live.run().then(() => "completed", (error) => error.message);
        assertMatch(await within("the destination", failed), reason);
        assertMatch(await within("the source", run), /the guest goes on here/);
        assertEquals(calls, ["stop", "resume"]);
        assertEquals(guest.calls, ["load"]);
        assertEquals(to.memory.depth, 0);
        to.space.flatView(); // consistent, whatever was loaded
      }),
    );
  }
}
