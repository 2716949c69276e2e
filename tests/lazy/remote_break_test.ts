import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { LazyEvent } from "../../client/lazy/lazy.ts";
import type { OnLoss } from "../../client/lazy/lazy_task.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { testUnless } from "../support/skip.ts";
import { lazyFrom, ONLY_ASKED, serve, type ServeOptions } from "./remote_image.ts";
import { memoryContent, MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";
import { anotherFault } from "./another_fault.ts";

const PAGE = 4096;

/** Reasons for which a server counts as lost. */
function losses(events: readonly LazyEvent[]): string[] {
  return events.flatMap((each) => each.event === "server-lost" ? [each.reason] : []);
}

/** The main channel breaks in the middle of the background stream, the preempt channel in that of answers. */
const BREAKS: Readonly<Record<string, { options: ServeOptions; channel: number; at: number }>> = {
  "the main channel": { options: { maxPostcopyBandwidth: 16 * MIB }, channel: 0, at: 2 * MIB },
  "the main channel before the blocks are known": { options: {}, channel: 0, at: 60 },
  "the main channel before requests are served": { options: {}, channel: 0, at: 300 },
  "the preempt channel": { options: { order: ONLY_ASKED }, channel: 1, at: MIB + 1234 },
  "the preempt channel in its first page": { options: { order: ONLY_ASKED }, channel: 1, at: 1000 },
};

for (const resets of [false, true]) {
  for (const [what, { options, channel, at }] of Object.entries(BREAKS)) {
    const early = what.includes("known");
    testUnless(
      needsVmm,
      `Lazy ${early ? "cannot begin" : "goes on with what is missing"} when ${what} is ${
        resets ? "reset" : "cut"
      }`,
      leavingNoDescriptors(async () => {
        using file = new MemoryFile(8 * MIB);
        await using served = await serve(file, options);
        await using relay = await FaultRelay.start(served.address, { resets });
        for (let each = 0; each <= channel; each++) {
          relay.next((connection) => each === channel && connection.cutBackAt(at));
        }
        if (early) {
          await assertRejects(() => lazyFrom(file, relay.address), MigrationError);
          return;
        }
        const { lazy, events } = await lazyFrom(file, relay.address);
        await using _lazy = lazy;
        await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
        await vmm.check();
        await until("it is whole", () => events.some(({ event }) => event === "complete"));
        assert(losses(events).length > 0);
        const kinds = events.map(({ event }) => event);
        assert(kinds.indexOf("server-lost") < kinds.indexOf("server-found"), `${kinds}`);
        await until(
          "both ends",
          () => served.events.filter(({ event }) => event === "ended").length === 2,
        );
        const [first, last] = served.events.filter((each) => each.event === "ended");
        assert(!first!.complete && last!.complete);
        // What had come was not sent once more.
        const again = first!.pages + last!.pages - 2048;
        assert(again < 600, `${first!.pages} and ${last!.pages} pages of 2048`);
        if (at > MIB) assert(last!.pages < 2000, `${last!.pages}`);
      }),
    );
  }
}

testUnless(
  needsVmm,
  "Lazy gets every byte through connections that break all the time, under load",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file, { maxPostcopyBandwidth: MIB });
    await using relay = await FaultRelay.start(served.address, { resets: true });
    const { lazy, events } = await lazyFrom(file, relay.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.order("run 41 4 1000000000 1");
    for (let times = 1; times <= 4; times++) {
      await anotherFault(lazy);
      relay.cut();
      await until(
        "it is found again",
        () =>
          events.filter(({ event }) => event === "server-found").length >= times ||
          events.some(({ event }) => event === "complete"),
      );
    }
    await vmm.order("stop");
    await vmm.ranRight();
    await vmm.check();
  }),
);

testUnless(
  needsVmm,
  "Lazy holds whoever waits while no server is there, and goes on with the next",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file, { order: ONLY_ASKED });
    const { lazy, events } = await lazyFrom(file, served.address, { lostAfter: 0 });
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    await served.stop();
    await until("the loss", () => losses(events).some((reason) => reason.includes("ECONNREFUSED")));
    await vmm.order(`touch ${1000 * PAGE}`);
    await until("the loss is told", () => events.some(({ event }) => event === "lost"));
    // What has come, and what was removed, is there all the same.
    assertEquals(await vmm.touch(PAGE), "image");
    await vmm.remove(5 * PAGE);
    assertEquals(await vmm.touch(5 * PAGE), "zeros");
    await until("the touch waits", () => vmm.waiting === 1);
    assert(!vmm.hasSaid("touched"));
    await served.start({ maxPostcopyBandwidth: 1 });
    assertEquals(await vmm.says("touched"), `touched ${1000 * PAGE} image`);
    await until("the end of it", () => events.some(({ event }) => event === "found"));
    await vmm.order("check");
    const [, wrong] = /wrong=(\d+)/.exec(await vmm.says("checked"))!;
    assertEquals(wrong, "0");
  }),
);

testUnless(
  needsVmm,
  "Lazy asks once more for what was asked for when the connection broke",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file, { order: ONLY_ASKED, maxPostcopyBandwidth: 1 });
    await using relay = await FaultRelay.start(served.address);
    const { lazy } = await lazyFrom(file, relay.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    for (const connection of relay.connections) connection.freeze("back");
    await vmm.order(`touch ${1000 * PAGE}`);
    await until("it is asked for", () => served.server.statistics()[0]!.requests === 2);
    assert(!vmm.hasSaid("touched"));
    relay.cut();
    assertEquals(await vmm.says("touched"), `touched ${1000 * PAGE} image`);
  }),
);

/** A VM that wants a page whose server is gone. */
async function afterLoss(
  onLoss: OnLoss,
  test: (at: { vmm: Vmm; events: LazyEvent[] }) => Promise<void>,
): Promise<void> {
  using file = new MemoryFile(8 * MIB);
  await using served = await serve(file, { order: ONLY_ASKED });
  const { lazy, events } = await lazyFrom(file, served.address, { lostAfter: 0, onLoss });
  await using _lazy = lazy;
  await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
  assertEquals(await vmm.touch(PAGE), "image");
  await served.stop();
  await until("the loss", () => losses(events).length > 0);
  await vmm.order(`touch ${2 * PAGE}`);
  await test({ vmm, events });
}

testUnless(
  needsVmm,
  "Lazy has whoever wants a page of a server that is gone get SIGBUS, if told so",
  leavingNoDescriptors(() =>
    afterLoss("poison", async ({ vmm }) => {
      assertEquals(await vmm.says("bus"), `bus ${2 * PAGE}`);
      assertEquals(await vmm.touch(PAGE), "image");
    })
  ),
);

testUnless(
  needsVmm,
  "Lazy ends the process that wants a page of a server that is gone, if told so",
  leavingNoDescriptors(() =>
    afterLoss("kill", async ({ vmm, events }) => {
      const { signal } = await within("its end", vmm.status);
      assertEquals(signal, "SIGKILL");
      await until("its end is noticed", () => events.some(({ event }) => event === "ended"));
    })
  ),
);

testUnless(
  needsVmm,
  "Lazy ends nobody for a connection that is made again in time",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    await using served = await serve(file, { order: ONLY_ASKED });
    await using relay = await FaultRelay.start(served.address);
    const options = { lostAfter: 60_000, onLoss: "kill" } as const;
    const { lazy, events } = await lazyFrom(file, relay.address, options);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    relay.cut();
    await until("the loss", () => losses(events).length > 0);
    assertEquals(await vmm.touch(2 * PAGE), "image");
  }),
);

testUnless(
  needsVmm,
  "Lazy takes no page of another image that a server has under the same name",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    Deno.utimeSync(file.path, 1000, 1000);
    await using served = await serve(file, { order: ONLY_ASKED });
    const { lazy, events } = await lazyFrom(file, served.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    await served.stop();
    Deno.writeFileSync(file.path, new Uint8Array(8 * MIB).fill(7));
    await served.start();
    await vmm.order(`touch ${2 * PAGE}`);
    const isRefused = (reason: string) =>
      reason.startsWith("Server refuses: Not the image that this client has begun with: vm");
    await until("the refusal", () => losses(events).some(isRefused));
    assert(!vmm.hasSaid("touched"));
    await served.stop();
    Deno.writeFileSync(file.path, memoryContent(8 * MIB));
    Deno.utimeSync(file.path, 1000, 1000);
    await served.start();
    assertEquals(await vmm.says("touched"), `touched ${2 * PAGE} image`);
    await vmm.check();
  }),
);

testUnless(
  needsVmm,
  "Lazy takes no page of an image that changed at the server, and goes on once it is what it was",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(8 * MIB);
    Deno.utimeSync(file.path, 1000, 1000);
    await using served = await serve(file, { order: ONLY_ASKED });
    const { lazy, events } = await lazyFrom(file, served.address);
    await using _lazy = lazy;
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    assertEquals(await vmm.touch(PAGE), "image");
    Deno.utimeSync(file.path, 2000, 2000);
    await vmm.order(`touch ${2 * PAGE}`);
    const isTold = (reason: string) =>
      reason.startsWith("Server refuses: Image was changed after it was opened");
    await until("the loss", () => losses(events).some(isTold));
    assert(!vmm.hasSaid("touched"));
    Deno.utimeSync(file.path, 1000, 1000);
    assertEquals(await vmm.says("touched"), `touched ${2 * PAGE} image`);
  }),
);
