/** Pages that go before the guest runs, to a stock QEMU: it has them, and asks for the others. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import { Buffer } from "node:buffer";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import type { GuestMachine } from "../../qemu/guest.ts";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import type { PageRun } from "../../server/order/page_run.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import {
  HUGE_ARGUMENTS,
  HUGE_BLOCK,
  PLAIN_ARGUMENTS,
  QEMU_HUGE_PAGES,
  readHugeBlock,
} from "../huge/qemu_machine.ts";
import { readMemory } from "../image/reference.ts";
import { assertSameMemory } from "../interop/qemu_memory.ts";
import { needsCompress } from "../interop/qemu_version.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "../interop/saved_guest.ts";
import { assertEveryPageSentOnce } from "../interop/serve_process.ts";
import { within } from "../support/deadline.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { freePort } from "../support/free_port.ts";
import { Random } from "../support/random.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StatusLog } from "../support/status_log.ts";
import { randomOrder } from "./orders.ts";

/** The pages of runs, by block and number. */
function pagesOf(runs: readonly PageRun[]): Set<string> {
  const pages = new Set<string>();
  for (const { block, offset, length = 4096 } of runs) {
    for (let at = offset; at < offset + length; at += 4096) pages.add(`${block} ${at}`);
  }
  return pages;
}

/** Newer machine types than 7.2 have other rules for the preempt channel. */
const MACHINES: readonly GuestMachine[] = [{ machine: "q35" }, { machine: "pc-q35-7.2" }];
/** Milliseconds that no test waits for. */
const NO_HURRY = 60_000;

for (const { name, binary, skip } of await testedQemus()) {
  for (const machine of MACHINES) {
    for (const mode of MODES) {
      testUnless(
        skip,
        `Source in mode ${mode} gives a stopped ${machine.machine} every byte, an order of it before, with ${name}`,
        async () => {
          await using saved = await SavedGuest.capture({ binary, ...machine });
          const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
          const { qemu, address } = await saved.destination(capabilities, { stopped: true });
          using image = await openImage(saved.path);
          const sizes = image.layout.blocks.map(({ name, pageCount }) => [name, pageCount]);
          const { runs, pages } = randomOrder(new Random(21), Object.fromEntries(sizes), 4000);
          const options = { to: address, mode, order: runs, warm: NO_HURRY };
          await using source = new Source(image, options);
          const statistics = await within("the source to complete", source.run());
          await waitForMigration(qemu, ["completed"]);
          assertEveryPageSentOnce(statistics, image);
          const { planned, early } = statistics.order!;
          assertEquals([planned, early], [pages, pages]);
          await assertSameMemory(qemu, readMemory(saved.bytes).blocks);
          await qemu.resume();
          await saved.countsOn(qemu);
        },
      );
    }
  }

  for (
    const [what, args, hugeBlocks, needs] of [
      ["shared memory", PLAIN_ARGUMENTS, [], undefined],
      ["huge pages", HUGE_ARGUMENTS, [HUGE_BLOCK], needsHugePages(QEMU_HUGE_PAGES)],
    ] as const
  ) {
    for (const mode of MODES) {
      testUnless(
        firstOf(skip, needs),
        `Source in mode ${mode} gives a stopped guest in ${what} every byte, an order of it before, with ${name}`,
        async () => {
          using _granted = new GrantedHugePages(hugeBlocks.length === 0 ? 0 : QEMU_HUGE_PAGES);
          await using saved = await SavedGuest.capture({ binary, args, tick: 64 });
          const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
          const { qemu, address } = await saved.destination(capabilities, { stopped: true });
          using opened = await openImage(saved.path);
          const image = withHugePages(opened, hugeBlocks);
          const sizes = image.layout.blocks.map(({ name, pageCount }) => [name, pageCount]);
          const random = new Random(22);
          const { runs } = randomOrder(random, Object.fromEntries(sizes), 30);
          const options = { to: address, mode, order: runs, warm: NO_HURRY };
          await using source = new Source(image, options);
          const { ram, order } = await within("the source to complete", source.run());
          await waitForMigration(qemu, ["completed"]);
          assertEquals([ram.remaining, ram.normal + ram.duplicate], [0, image.layout.pageCount]);
          assertGreater(order!.early, hugeBlocks.length === 0 ? 29 : 511);
          assertEquals(order!.early, order!.planned);
          const found = await readHugeBlock(qemu);
          const wanted = readMemory(saved.bytes).blocks.get(HUGE_BLOCK)!;
          assertEquals(Buffer.compare(found, wanted), 0);
          await qemu.resume();
          await saved.countsOn(qemu);
        },
      );
    }
  }

  testUnless(
    skip ?? await needsCompress(binary),
    `Source gives a stopped guest every byte, an order of it before, compressed, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      const capabilities = { ...VANILLA, compress: true };
      const { qemu, address } = await saved.destination(capabilities, { stopped: true });
      using image = await openImage(saved.path);
      const sizes = image.layout.blocks.map(({ name, pageCount }) => [name, pageCount]);
      const { runs, pages } = randomOrder(new Random(24), Object.fromEntries(sizes), 4000);
      const options = { mode: "vanilla", compress: { method: "zlib" }, order: runs } as const;
      await using source = new Source(image, { to: address, warm: NO_HURRY, ...options });
      const { ram, order, compression } = await within("the source", source.run());
      await waitForMigration(qemu, ["completed"]);
      const sent = ram.normal + ram.duplicate + compression!.pages;
      assertEquals([ram.remaining, sent], [0, image.layout.pageCount]);
      assertEquals([order!.planned, order!.early], [pages, pages]);
      assertGreater(compression!.pages, 0);
      await assertSameMemory(qemu, readMemory(saved.bytes).blocks);
      await qemu.resume();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `Source goes on after a break with a guest that got an order before, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, workingSetMiB: 8 });
      using image = await openImage(saved.path);
      const waiting = await saved.destination(PREEMPT);
      await using relay = await FaultRelay.start(waiting.address);
      const log = new StatusLog();
      const sizes = image.layout.blocks.map(({ name, pageCount }) => [name, pageCount]);
      const { runs } = randomOrder(new Random(23), Object.fromEntries(sizes), 4000);
      await using source = new Source(image, {
        to: relay.address,
        order: runs,
        warm: 500,
        maxPostcopyBandwidth: 1 << 20, // what is not asked for takes a minute
        onStatus: log.add,
      });
      const run = source.run();
      run.catch(() => {});
      await within("the connections", relay.came(2));
      const [, preempt] = relay.connections;
      await within("some pages", preempt!.hasPassed(200_000));
      relay.cut();
      await within("the pause", Promise.race([log.reached("postcopy-paused", 1), run]));
      await waitForMigration(waiting.qemu, ["postcopy-paused"]);
      const port = freePort();
      await listenForRecovery(waiting.qemu, port);
      relay.redirect({ transport: "tcp", host: "127.0.0.1", port });
      await within("the source to go on", log.reached("postcopy-active", 2));
      // A page that was there before, and came again, would pause the QEMU once more.
      const { status, order } = await within("the source to complete", run, 120_000);
      assertEquals(status, "completed");
      assertGreater(order!.early, 0);
      await waitForMigration(waiting.qemu, ["completed"]);
      await saved.countsOn(waiting.qemu);
    },
  );

  testUnless(
    skip,
    `Source has a guest count on that asks for nothing of what went before it, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      let order: readonly PageRun[] = [];
      for (let time = 0; time < 2; time++) {
        const { qemu, address } = await saved.destination(PREEMPT);
        using image = await openImage(saved.path);
        const slow = { maxPostcopyBandwidth: 32 << 20 }; // or little would be asked for
        const options = { to: address, order, warm: NO_HURRY, noteRequests: true, ...slow };
        await using source = new Source(image, options);
        const statistics = await within("the source to complete", source.run());
        await waitForMigration(qemu, ["completed"]);
        assertEveryPageSentOnce(statistics, image);
        const asked = [...source.requested()];
        if (time === 1) {
          const { early, late } = statistics.order!;
          assertGreater(early, 0);
          assertEquals(late, 0); // what is in place is never asked for
          const before = pagesOf(order);
          const again = pagesOf(asked).intersection(before);
          assertLessOrEqual(again.size, before.size - early);
        }
        order = asked;
        await saved.countsOn(qemu);
      }
    },
  );
}
