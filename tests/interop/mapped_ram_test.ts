/**
 * Guests saved by real QEMU in its mapped-ram format: what our image says of their memory, and their
 * restore into stock QEMU by our source.
 */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { assertMemory, withDirectory } from "../image/captures.ts";
import { readMappedMemory } from "../image/reference.ts";
import { capture, type CaptureOptions } from "../../qemu/capture.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { assertSameMemory } from "./qemu_memory.ts";
import { needsVersion } from "./qemu_version.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest } from "./saved_guest.ts";
import { assertEveryPageSentOnce, serve } from "./serve_process.ts";

/** Ways in which QEMU writes such a file. */
const CAPTURES: readonly { what: string; options: CaptureOptions }[] = [
  { what: "a stopped guest", options: {} },
  { what: "a running guest", options: { livePasses: 2 } },
  { what: "a guest over several channels", options: { capabilities: { multifd: true } } },
];

for (const { name, binary, skip } of await testedQemus()) {
  const reason = skip ?? await needsVersion(binary, 9, 0, "mapped-ram");

  for (const { what, options } of CAPTURES) {
    testUnless(
      reason,
      `openImage gives the memory of ${what} in mapped-ram, with ${name}`,
      async () => {
        await withDirectory(async (directory) => {
          const path = `${directory}/image`;
          await using qemu = await startGuest({ binary });
          await waitForRound(qemu, 2);
          await capture(qemu, path, { ...options, format: "mapped-ram" });
          const expected = readMappedMemory(await Deno.readFile(path));
          using image = await openImage(path);
          assertEquals(image.kind, "mapped-ram");
          assertMemory(image, expected);
          await assertSameMemory(qemu, expected.blocks);
          const stored = image.counts![
            image.layout.blocks.findIndex((block) => block.name === "pc.ram")
          ]!;
          assert(stored.data > 1000, `Only ${stored.data} pages with content`);
        });
      },
    );
  }

  testUnless(
    reason,
    `serve of a mapped-ram image lets its guest count on, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 }, { format: "mapped-ram" });
      const { qemu, uri } = await saved.destination(PREEMPT);
      const { code, stderr, statistics } = await serve(saved.path, uri);
      assertEquals(code, 0, stderr);
      await waitForMigration(qemu, ["completed"]);
      using image = await openImage(saved.path);
      assertEveryPageSentOnce(statistics, image);
      await saved.countsOn(qemu);
      saved.assertUntouched();
    },
  );

  testUnless(
    reason,
    `Source gives a stopped guest every byte of its mapped-ram image, with ${name}`,
    leavingNoDescriptors(async () => {
      await using saved = await SavedGuest.capture({ binary }, { format: "mapped-ram" });
      const { qemu, address } = await saved.destination(PREEMPT, { stopped: true });
      {
        using image = await openImage(saved.path);
        await using source = new Source(image, { to: address, mode: "preempt-full" });
        assertEveryPageSentOnce(await within("the source to complete", source.run()), image);
      }
      await waitForMigration(qemu, ["completed"]);
      await assertSameMemory(qemu, readMappedMemory(saved.bytes).blocks);
      saved.assertUntouched();
      await qemu.resume();
      await saved.countsOn(qemu);
    }),
  );
}
