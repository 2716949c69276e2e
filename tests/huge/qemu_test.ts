/** Guests of real QEMU on huge pages. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "../interop/saved_guest.ts";
import { serve } from "../interop/serve_process.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";
import { HUGE_ARGUMENTS, HUGE_BLOCK, QEMU_HUGE_PAGES, readHugeBlock } from "./qemu_machine.ts";

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

  for (const preempt of [true, false]) {
    testUnless(
      firstOf(skip, needsHugePages(2 * QEMU_HUGE_PAGES)),
      `Destination takes a guest on huge pages from ${name} ${
        preempt ? "with" : "without"
      } postcopy-preempt`,
      async () => {
        using _granted = new GrantedHugePages(2 * QEMU_HUGE_PAGES);
        await using qemu = await startGuest(machine);
        await waitForRound(qemu, 2);
        // Touches memory in leaps, so that pages are asked for while others stream in.
        let sum = 0;
        const guest = new StillGuest((guest) => {
          guest.blocks.forEach((_, index) => {
            const words = guest.words(index);
            for (let word = 0; word < words.length; word += 1024 * 1337) sum += words[word]!;
          });
        });
        await using destination = new Destination({ guest });
        const to = await destination.listen(LOOPBACK);
        await setCapabilities(qemu, { "postcopy-ram": true, "postcopy-preempt": preempt });
        // Told to switch at once: QEMU looks only after 64 host pages, and these are all it has.
        await setParameters(qemu, { "max-bandwidth": 2 << 20, "max-postcopy-bandwidth": 8 << 20 });
        await qemu.execute("stop"); // see tests/interop/qemu_source_test.ts
        const since = qemu.qmp.events.items.length;
        await qemu.execute("migrate", { uri: formatSocketAddress(to) });
        await qemu.execute("migrate-start-postcopy");
        await within("the destination", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, duplicates, requests } = destination.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        assertGreater(requests, 0);
        const { address, length, pageSize } = guest.blocks.find(({ name }) => name === HUGE_BLOCK)!;
        assertEquals(pageSize, HUGE);
        const expected = await readHugeBlock(qemu);
        assertEquals(Buffer.compare(expected, viewMemory(address, length)), 0);
      },
    );
  }
}
