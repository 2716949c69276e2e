/**
 * Guests saved by real QEMU behind libvirt's header, or at an offset of somebody else's, as libvirt and
 * `migrate file:FILE,offset=N` place them; served to stock QEMU from where they are.
 */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { libvirtHead } from "../image/libvirt_files.ts";
import { readMappedMemory, readMemory } from "../image/reference.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { assertSameMemory } from "./qemu_memory.ts";
import { needsVersion } from "./qemu_version.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest } from "./saved_guest.ts";
import { assertEveryPageSentOnce, serve } from "./serve_process.ts";

const OFFSET = 3 << 20;
const FORMATS = [
  { format: "stream", number: 0, read: readMemory },
  { format: "mapped-ram", number: 6, read: readMappedMemory },
] as const;

for (const { name, binary, skip } of await testedQemus()) {
  for (const { format, number, read } of FORMATS) {
    const reason = skip ??
      (format === "mapped-ram" ? await needsVersion(binary, 9, 0, "mapped-ram") : undefined);

    testUnless(
      reason,
      `Source gives a stopped guest every byte of a ${format} that libvirt saved, with ${name}`,
      leavingNoDescriptors(async () => {
        const head = libvirtHead({ format: number });
        await using saved = await SavedGuest.capture({ binary }, { format }, head);
        const { qemu, address } = await saved.destination(PREEMPT, { stopped: true });
        {
          using image = await openImage(saved.path);
          assertEquals([image.kind === "mapped-ram", image.streamOffset], [
            number === 6,
            head.length,
          ]);
          await using source = new Source(image, { to: address, mode: "preempt-full" });
          assertEveryPageSentOnce(await within("the source to complete", source.run()), image);
        }
        await waitForMigration(qemu, ["completed"]);
        await assertSameMemory(qemu, read(saved.bytes).blocks);
        saved.assertUntouched();
        await qemu.resume();
        await saved.countsOn(qemu);
      }),
    );

    testUnless(
      reason,
      `serve --offset of a ${format} behind other bytes lets its guest count on, with ${name}`,
      async () => {
        const head = new Uint8Array(OFFSET).fill(0x51);
        await using saved = await SavedGuest.capture({ binary, tick: 64 }, { format }, head);
        const { qemu, uri } = await saved.destination(PREEMPT);
        const { code, stderr, statistics } = await serve(saved.path, uri, "--offset", "3M");
        assertEquals(code, 0, stderr);
        await waitForMigration(qemu, ["completed"]);
        using image = await openImage(saved.path, { offset: OFFSET });
        assertEveryPageSentOnce(statistics, image);
        await saved.countsOn(qemu);
        saved.assertUntouched();
      },
    );
  }

  testUnless(
    skip,
    `serve of a domain that libvirt saved paused lets its guest count on, and says so, with ${name}`,
    async () => {
      const head = libvirtHead({ running: 0 });
      await using saved = await SavedGuest.capture({ binary, tick: 64 }, {}, head);
      const { qemu, uri } = await saved.destination(PREEMPT);
      const { code, stderr } = await serve(saved.path, uri);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stderr, "libvirt's domain web & mail)");
      assertStringIncludes(stderr, "libvirt would leave this domain paused");
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    },
  );
}
