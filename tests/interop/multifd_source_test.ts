/** Guests saved from real QEMU, sent to stock QEMU over multifd channels. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { setParameters, waitForMigration } from "../../qemu/migration.ts";
import type { GuestMachine } from "../../qemu/guest.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { readMemory } from "../image/reference.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { needsVersion } from "./needs_version.ts";
import { KINDS } from "./qemu_credentials.ts";
import { assertSameMemory } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, SavedGuest, VANILLA } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

const METHODS = ["none", "zlib", "zstd"] as const;
/** What a destination with multifd has on. */
const MULTIFD: Capabilities = { multifd: true };

/** Sets what a destination with multifd needs beside the capability. */
function channels(count: number, compression = "none"): (qemu: Qemu) => Promise<void> {
  return (qemu) =>
    setParameters(qemu, { "multifd-channels": count, "multifd-compression": compression });
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const compression of METHODS) {
    for (const machine of [{ machine: "q35" }, { machine: "pc-q35-7.2" }] as GuestMachine[]) {
      testUnless(
        skip,
        `serve over 4 multifd channels (${compression}) lets a guest on ${machine.machine} count on, with ${name}`,
        async () => {
          await using saved = await SavedGuest.capture({ binary, ...machine, tick: 64 });
          const { qemu, uri } = await saved.destination(MULTIFD, {}, channels(4, compression));
          const { code, stderr, statistics } = await serve(
            saved.path,
            uri,
            ...["--multifd-channels", "4", "--multifd-compression", compression],
          );
          assertEquals(code, 0, stderr);
          await waitForMigration(qemu, ["completed"]);
          assertEquals(statistics.ram.remaining, 0);
          assertGreater(statistics.multifd!.bytes, 4 * 1344);
          await saved.countsOn(qemu);
          saved.assertUntouched();
          assertEquals(saved.marks, []);
        },
      );
    }

    testUnless(
      skip,
      `Source gives a stopped guest every byte of its image over 3 multifd channels (${compression}), with ${name}`,
      leavingNoDescriptors(async () => {
        await using saved = await SavedGuest.capture({ binary });
        const { qemu, address } = await saved.destination(
          MULTIFD,
          { stopped: true },
          channels(3, compression),
        );
        using image = await openImage(saved.path);
        const multifd = { channels: 3, compression };
        await using source = new Source(image, { to: address, multifd });
        await within("the source to complete", source.run());
        await waitForMigration(qemu, ["completed"]);
        await assertSameMemory(qemu, readMemory(saved.bytes).blocks);
        await qemu.resume();
        await saved.countsOn(qemu);
      }),
    );
  }

  for (const mode of MODES) {
    testUnless(
      skip ?? await needsVersion(binary, 1001),
      `Source in mode ${mode} sends the rest on demand after a while of multifd, with ${name}`,
      leavingNoDescriptors(async () => {
        await using saved = await SavedGuest.capture({ binary, tick: 64 });
        const capabilities = { ...MULTIFD, ...mode === "vanilla" ? VANILLA : PREEMPT };
        const { qemu, address } = await saved.destination(capabilities, {}, channels(2, "zstd"));
        using image = await openImage(saved.path);
        await using source = new Source(image, {
          to: address,
          mode,
          multifd: { channels: 2, compression: "zstd" },
          postcopyAfter: Infinity,
          maxPostcopyBandwidth: 256 << 10,
        });
        const run = source.run();
        run.catch(() => {});
        await until("some pages", () => source.statistics().ram.normal > 20);
        source.startPostcopy();
        source.setMaxPostcopyBandwidth(0);
        const { ram } = await within("the source to complete", run);
        await waitForMigration(qemu, ["completed"]);
        assertEquals(ram.remaining, 0);
        await saved.countsOn(qemu);
      }),
    );
  }

  for (const [kind, share] of Object.entries(KINDS)) {
    testUnless(
      firstOf(skip, needsOpenssl()),
      `Source lets a guest count on over multifd and TLS with ${kind}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using shared = await share();
        await using saved = await SavedGuest.capture({ binary });
        const { qemu, address } = await saved.destination(MULTIFD, {}, async (qemu) => {
          await shared.give(qemu);
          await channels(3, "zlib")(qemu);
        });
        using image = await openImage(saved.path);
        await using source = new Source(image, {
          to: address,
          tls: shared.tls,
          multifd: { channels: 3, compression: "zlib" },
        });
        await within("the source to complete", source.run());
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      }),
    );
  }

  testUnless(
    skip,
    `serve over multifd lets a guest count on whose machine type has no version, with ${name}`,
    async () => {
      const machine = { binary, machine: "isapc", disk: "ide" } as const;
      await using saved = await SavedGuest.capture({ ...machine, tick: 64 });
      const { qemu, uri } = await saved.destination(MULTIFD, {}, channels(2));
      // Only where the type does not tell that a QEMU is an old one.
      const old = qemu.atLeast(8, 1) ? [] : ["--multifd-flush-after-each-section", "on"];
      const { code, stderr } = await serve(saved.path, uri, "--multifd-channels", "2", ...old);
      assertEquals(code, 0, stderr);
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    },
  );

  /** What differs at the destination, and what is said. */
  const MISMATCHES: readonly (readonly [string, Capabilities, number, string, RegExp])[] = [
    ["more channels", MULTIFD, 4, "none", /may wait for more: set its multifd-channels to 2/],
    ["fewer channels", MULTIFD, 1, "none", /multifd-channels 2/],
    ["no multifd", {}, 2, "none", /the capability multifd on.* multifd-channels 2/],
    ["another compression", MULTIFD, 2, "zlib", /multifd-compression none/],
  ];
  for (const [what, capabilities, count, compression, message] of MISMATCHES) {
    testUnless(
      skip,
      `serve says so when the destination has ${what} than it, and the image may be served again, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const { uri } = await saved.destination(capabilities, {}, channels(count, compression));
        const { code, stderr } = await serve(saved.path, uri, "--multifd-channels", "2");
        assertEquals(code, 1, stderr);
        assertMatch(stderr, message);
        assertEquals(saved.marks, []);
      },
    );
  }

  testUnless(
    skip,
    `serve is refused by a QEMU with another UUID than it says, and taken by one with the same, with ${name}`,
    async () => {
      const uuid = "a0b1c2d3-e4f5-4697-8879-6a5b4c3d2e1f";
      await using saved = await SavedGuest.capture({ binary });
      for (const [said, code] of [[[], 1], [["--multifd-uuid", uuid], 0]] as const) {
        const { uri } = await saved.destination(
          MULTIFD,
          { args: ["-uuid", uuid] },
          channels(2),
        );
        const served = await serve(saved.path, uri, "--multifd-channels", "2", ...said);
        assertEquals(served.code, code, served.stderr);
        if (code !== 0) assertMatch(served.stderr, /-uuid as the image says, or none/);
      }
    },
  );
}
