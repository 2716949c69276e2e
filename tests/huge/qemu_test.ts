/** Guests of real QEMU on huge pages. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "../interop/saved_guest.ts";
import { serve } from "../interop/serve_process.ts";
import { hurry, switchSlowly } from "../interop/slow_switch.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";
import {
  HUGE_ARGUMENTS,
  HUGE_BLOCK,
  PLAIN_ARGUMENTS,
  QEMU_HUGE_PAGES,
  readHugeBlock,
} from "./qemu_machine.ts";

const hugePages = needsHugePages(QEMU_HUGE_PAGES);

for (const { name, binary, skip } of await testedQemus()) {
  const machine = { binary, args: HUGE_ARGUMENTS, tick: 64 };
  for (const mode of MODES) {
    testUnless(
      firstOf(skip, hugePages),
      `Source in mode ${mode} lets a guest on huge pages count on, with ${name}`,
      async () => {
        using _granted = new GrantedHugePages(QEMU_HUGE_PAGES);
        await using saved = await SavedGuest.capture(machine);
        const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
        const { qemu, address } = await saved.destination(capabilities);
        using opened = await openImage(saved.path);
        const image = withHugePages(opened, [HUGE_BLOCK]);
        // Slow enough that the guest asks for pages that others are in the middle of.
        const options = { mode, maxPostcopyBandwidth: 100e6 };
        await using source = new Source(image, { to: address, ...options });
        const { ram } = await within("the source to complete", source.run());
        await waitForMigration(qemu, ["completed"]);
        assertEquals(ram.remaining, 0);
        assertEquals(ram.normal + ram.duplicate, image.layout.pageCount);
        await saved.countsOn(qemu);
      },
    );
  }

  testUnless(
    firstOf(skip, hugePages),
    `serve --huge-pages lets a guest on huge pages count on, with ${name}`,
    async () => {
      using _granted = new GrantedHugePages(QEMU_HUGE_PAGES);
      await using saved = await SavedGuest.capture(machine);
      const { qemu, uri } = await saved.destination(PREEMPT);
      const { code, stderr } = await serve(saved.path, uri, "--huge-pages", HUGE_BLOCK);
      assertEquals(code, 0, stderr);
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      saved.assertUntouched();
    },
  );

  for (
    const [what, from, to, option, advice] of [
      ["on huge pages", PLAIN_ARGUMENTS, HUGE_ARGUMENTS, [], `say so: --huge-pages ${HUGE_BLOCK}`],
      [
        "that is not on the huge pages that were named",
        PLAIN_ARGUMENTS,
        PLAIN_ARGUMENTS,
        ["--huge-pages", HUGE_BLOCK],
        `huge pages for these blocks alone, as --huge-pages names them: ${HUGE_BLOCK}`,
      ],
    ] as const
  ) {
    for (const mode of ["preempt-full", "vanilla"] as const) {
      testUnless(
        firstOf(skip, hugePages),
        `serve in mode ${mode} names --huge-pages for a QEMU ${what}, with ${name}`,
        async () => {
          using _granted = new GrantedHugePages(QEMU_HUGE_PAGES);
          await using saved = await SavedGuest.capture({ binary, args: from, tick: 64 });
          const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
          const { uri } = await saved.destination(capabilities, { args: to });
          const { code, stderr } = await serve(saved.path, uri, "--mode", mode, ...option);
          assertEquals(code, 1, stderr);
          assertStringIncludes(stderr, "the machine did not start");
          assertStringIncludes(stderr, advice);
          saved.assertUntouched();
        },
      );
    }
  }

  for (const preempt of [true, false]) {
    testUnless(
      firstOf(skip, needsHugePages(2 * QEMU_HUGE_PAGES)),
      `Destination takes a guest on huge pages from ${name} ${
        preempt ? "with" : "without"
      } postcopy-preempt`,
      async () => {
        using _granted = new GrantedHugePages(2 * QEMU_HUGE_PAGES);
        await using stack = new AsyncDisposableStack();
        const qemu = stack.use(await startGuest(machine));
        await waitForRound(qemu, 2);
        const guest = new StillGuest();
        const destination = stack.use(new Destination({ guest }));
        const to = await destination.listen(LOOPBACK);
        await qemu.execute("stop"); // see tests/interop/qemu_source_test.ts
        const since = await switchSlowly(qemu, to, preempt);
        await within("the guest to start", destination.waitFor("postcopy-active"));
        const { address, length, pageSize } = guest.blocks.find(({ name }) => name === HUGE_BLOCK)!;
        const thread = stack.use(new FaultingThread(address + length - HUGE));
        await until("the request", () => destination.statistics().requests > 0);
        await hurry(qemu);
        // Touches memory in leaps, so that pages are asked for while others stream in.
        const words = new Int32Array(viewMemory(address, length).buffer);
        let sum = 0;
        for (let word = 0; word < words.length; word += 1024 * 1337) sum += words[word]!;
        await within("the destination", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, duplicates } = destination.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        assertEquals(pageSize, HUGE);
        const expected = await readHugeBlock(qemu);
        assertEquals(Buffer.compare(expected, viewMemory(address, length)), 0);
        assertEquals(await thread.found(), words[(length - HUGE) / 4 + 5]);
      },
    );
  }
}
