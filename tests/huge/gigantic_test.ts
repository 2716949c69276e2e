/** Host pages of 1 GiB, where the machine grants some: at our ends, and at real QEMU's. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "../interop/saved_guest.ts";
import { serve } from "../interop/serve_process.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { GIGANTIC } from "./huge_pages.ts";
import { GIGANTIC_ARGUMENTS, HUGE_BLOCK, readHugeBlock } from "./qemu_machine.ts";

const PARTS = GIGANTIC / 4096;
/** One of each end; a QEMU gathers one more, for each channel that brings some. */
const BOTH_ENDS = needsHugePages(2, GIGANTIC);
const QEMU_PAGES = 2;
const QEMU = needsHugePages(QEMU_PAGES, GIGANTIC);

/** A guest that does nothing, with memory of which every seventh page holds something. */
class Resting {
  readonly words: Int32Array;

  constructor({ blocks }: LiveRegion) {
    const { address, length } = blocks[0]!;
    this.words = new Int32Array(viewMemory(address, length).buffer);
    for (let page = 0; page < PARTS; page += 7) {
      this.words.fill(page + 1, page * 1024, page * 1024 + 9);
    }
  }

  stop(): void {}

  save(): Uint8Array {
    return new Uint8Array(0);
  }

  resume(): void {}
}

const WAYS: readonly (readonly [string, Omit<LiveSourceOptions, "to">])[] = [
  ["precopy", { postcopy: "never" }],
  ["multifd", { postcopy: "never", multifd: { channels: 2, compression: "zstd" } }],
  ...MODES.map((mode) =>
    [`postcopy at once in mode ${mode}`, {
      postcopy: "now",
      mode,
      maxPostcopyBandwidth: 64 << 20,
    }] as const
  ),
];

for (const [way, how] of WAYS) {
  testUnless(
    BOTH_ENDS,
    `LiveSource moves a page of 1 GiB by ${way}`,
    leavingNoDescriptors(async () => {
      using _granted = new GrantedHugePages(2, GIGANTIC);
      using region = new LiveRegion({
        blocks: [{ name: "ram", length: GIGANTIC }],
        pageSize: GIGANTIC,
      });
      const guest = new Resting(region);
      const arrived = new StillGuest();
      const multifd = how.multifd === undefined ? {} : { multifdChannels: how.multifd.channels };
      await using destination = new Destination({ guest: arrived, ...multifd });
      const to = await destination.listen(LOOPBACK);
      await using source = new LiveSource(region, guest, { to, ...how });
      const run = source.run();
      run.catch(() => {}); // it is told below
      if (how.postcopy === "now") {
        await within("the guest to start", destination.waitFor("postcopy-active"));
        using thread = new FaultingThread(arrived.blocks[0]!.address + GIGANTIC / 2);
        assertEquals(await thread.found(), guest.words[GIGANTIC / 8 + 5]);
      }
      await within("both ends", Promise.all([run, destination.finished]));
      const { address, length, pageSize } = arrived.blocks[0]!;
      assertEquals([length, pageSize], [GIGANTIC, GIGANTIC]);
      const [sent, found] = [region.blocks[0]!.address, address]
        .map((start) => viewMemory(start, GIGANTIC));
      assertEquals(Buffer.compare(sent!, found!), 0);
      const { received, pages, duplicates, requests } = destination.statistics();
      assertEquals([received, pages, duplicates], [PARTS, PARTS, 0]);
      assertEquals(requests, how.postcopy === "now" ? 1 : 0);
    }),
  );
}

for (const { name, binary, skip } of await testedQemus()) {
  const machine = { binary, args: GIGANTIC_ARGUMENTS, tick: 64, memoryMiB: 1024 };

  for (const mode of MODES) {
    testUnless(
      firstOf(skip, QEMU),
      `Source in mode ${mode} lets a guest on a page of 1 GiB count on, with ${name}`,
      async () => {
        using _granted = new GrantedHugePages(QEMU_PAGES, GIGANTIC);
        await using saved = await SavedGuest.capture(machine);
        const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
        const { qemu, address } = await saved.destination(capabilities);
        using opened = await openImage(saved.path);
        const image = withHugePages(opened, [HUGE_BLOCK], GIGANTIC);
        // It is asked for while the stream has hardly begun.
        await using source = new Source(image, { to: address, mode, maxPostcopyBandwidth: 20e6 });
        const { ram } = await within("the source to complete", source.run());
        await waitForMigration(qemu, ["completed"]);
        assertEquals(ram.remaining, 0);
        assertEquals(ram.normal + ram.duplicate, image.layout.pageCount);
        assertGreater(ram["postcopy-requests"], 0);
        await saved.countsOn(qemu);
      },
    );
  }

  testUnless(
    firstOf(skip, QEMU),
    `serve --huge-pages ${HUGE_BLOCK}=1G lets a guest on a page of 1 GiB count on, with ${name}`,
    async () => {
      using _granted = new GrantedHugePages(QEMU_PAGES, GIGANTIC);
      await using saved = await SavedGuest.capture(machine);
      const { qemu, uri } = await saved.destination(PREEMPT);
      const { code, stderr } = await serve(saved.path, uri, "--huge-pages", `${HUGE_BLOCK}=1G`);
      assertEquals(code, 0, stderr);
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    },
  );

  for (const preempt of [true, false]) {
    testUnless(
      firstOf(skip, QEMU),
      `Destination takes a guest on a page of 1 GiB from ${name} ${
        preempt ? "with" : "without"
      } postcopy-preempt`,
      leavingNoDescriptors(async () => {
        using _granted = new GrantedHugePages(QEMU_PAGES, GIGANTIC);
        await using stack = new AsyncDisposableStack();
        const qemu = stack.use(await startGuest(machine));
        await waitForRound(qemu, 2);
        const guest = new StillGuest();
        const destination = stack.use(new Destination({ guest }));
        const to = await destination.listen(LOOPBACK);
        await qemu.execute("stop"); // see tests/interop/qemu_source_test.ts
        await setCapabilities(qemu, { "postcopy-ram": true, "postcopy-preempt": preempt });
        await setParameters(qemu, { "max-bandwidth": 1e12 });
        const since = qemu.qmp.events.items.length;
        await qemu.execute("migrate", { uri: formatSocketAddress(to) });
        // It looks between two host pages whether to switch: all may have come by then.
        await qemu.execute("migrate-start-postcopy");
        await within("the destination", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, duplicates } = destination.statistics();
        const { address, length, pageSize } = guest.blocks.find(({ name }) => name === HUGE_BLOCK)!;
        assertEquals([received, duplicates, pageSize], [pages, 0, GIGANTIC]);
        const expected = await readHugeBlock(qemu, GIGANTIC);
        assertEquals(Buffer.compare(expected, viewMemory(address, length)), 0);
      }),
    );
  }
}
