/** Compressed pages from our source to a real QEMU that has the capability `compress`: 7.2 to 9.0. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch, assertRejects } from "@std/assert";
import { setCapabilities } from "../../qemu/migration.ts";
import { Qemu } from "../../qemu/qemu.ts";
import { testUnless } from "../support/skip.ts";
import { PREEMPT, SavedGuest, VANILLA } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";
import { needsCompress } from "./qemu_version.ts";
import { testedQemus } from "./qemus.ts";

/** What a destination needs for compressed pages. */
const COMPRESS = { ...VANILLA, compress: true };

for (const { name, binary, skip } of await testedQemus()) {
  const without = skip ?? await needsCompress(binary);

  for (const flags of [[], ["--compress-wait-thread", "off"], ["--compress-level", "9"]]) {
    testUnless(
      without,
      `serve --compress zlib ${flags.join(" ")} runs a saved guest in ${name} with compress on`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const { qemu, uri } = await saved.destination(COMPRESS);
        const how = ["--mode", "vanilla", "--compress", "zlib", ...flags];
        const { code, stderr, statistics } = await serve(saved.path, uri, ...how);
        assertEquals(code, 0, stderr);
        const { compression, ram } = statistics;
        assertGreater(compression!.pages, 0);
        assertGreater(compression!["compression-rate"], 1);
        assertEquals(ram.remaining, 0);
        const sent = ram.normal + ram.duplicate + compression!.pages;
        assertEquals(sent, ram.total / ram["page-size"]);
        await saved.countsOn(qemu);
        saved.assertUntouched();
      },
    );
  }

  testUnless(
    without,
    `serve --compress zlib says what to do about ${name} with compress off, and the image stays`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      const { uri } = await saved.destination(VANILLA);
      const how = ["--mode", "vanilla", "--compress", "zlib", "--recover-timeout", "0"];
      const { code, stderr } = await serve(saved.path, uri, ...how);
      assertEquals(code, 1);
      // It aborts at the first page; its word that the guest is loaded may have come before.
      assertMatch(
        stderr,
        /compress on \(QEMU 7\.2 to 9\.0 has it\)|the guest ran at the destination/,
      );
      saved.assertUntouched();
    },
  );

  for (
    const [how, reason] of [
      [["--compress", "zlib"], /Postcopy preempt not compatible with compress/],
      [["--compress", "zstd", "--mode", "vanilla"], /does not understand zstd pages/],
    ] as const
  ) {
    testUnless(
      skip,
      `serve ${how.join(" ")} refuses ${name} with the reason, and the image stays`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const { uri } = await saved.destination(how.length === 2 ? PREEMPT : VANILLA);
        const { code, stderr } = await serve(saved.path, uri, ...how);
        assertEquals(code, 1);
        assertMatch(stderr, reason);
        saved.assertUntouched();
      },
    );
  }

  testUnless(
    without,
    `the reason why compressed pages are refused beside a preempt channel is that of ${name}`,
    async () => {
      await using qemu = await Qemu.start({ binary, stopped: true });
      const error = await assertRejects(() =>
        setCapabilities(qemu, { ...PREEMPT, compress: true })
      );
      assertMatch(String(error), /Postcopy preempt not compatible with compress/);
    },
  );
}
