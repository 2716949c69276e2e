/** Images that are served compressed: methods, modes and threads; memory is compared byte for byte. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { EXTENSION, EXTENSIONS } from "../../migration/protocol/extensions.ts";
import { MODES } from "../../server/sending/mode.ts";
import { openImage } from "../../image/open_image.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { COMPRESSION, DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { assertEachPageOnce, migrate, type Migrated } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assertMainThreadServed } from "./standing_still.ts";

await keepThreads(...SOURCE, ...DESTINATION, ...COMPRESSION);

/** Sizes that fill no word of a bitmap, several blocks, one page alone. */
const BLOCKS = { ram: 4099, "0000:00:02.0/vga.vram": 33, "/rom@etc/table": 1, "pc.bios": 64 };
const COMPRESSIBLE = { repeats: 4 };

function assertCompressed(migrated: Migrated): void {
  assertEachPageOnce(migrated);
  const { compression } = migrated.source;
  assertGreater(compression!.pages, 0);
  assertGreater(compression!["compression-rate"], 3);
}

for (const method of COMPRESSION_METHODS) {
  for (const mode of MODES) {
    Deno.test(
      `Source in mode ${mode} moves every byte once with ${method}`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS, COMPRESSIBLE);
        const guest = new StillGuest();
        const compress = { method, threads: 2 };
        await migrate(image.path, { mode, guest, compress }, (migrated) => {
          assertCompressed(migrated);
          image.assertEqualMemory(guest.blocks);
        });
        image.assertUntouched();
      }),
    );

    if (method === "zlib" && mode !== "vanilla") continue; // that is how a QEMU takes it
    Deno.test(
      `Source in mode ${mode} serves threads that write at random with ${method}`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS, COMPRESSIBLE);
        const guest = new WorkloadGuest({ threads: 3, write: true, untilTouched: true });
        const compress = { method, threads: 8, wait: false };
        await migrate(image.path, { mode, guest, compress }, async (migrated) => {
          assertEachPageOnce(migrated);
          await guest.ended;
          assertEquals(guest.statistics().failures, []);
          assertEquals(guest.statistics().touched, image.pages);
          assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
        });
      }),
    );
  }

  Deno.test(
    `Source with ${method} serves the destination's main thread while its event loop stands still`,
    async () => {
      await assertMainThreadServed({ ...COMPRESSIBLE, compress: { method } });
    },
  );

  Deno.test(
    `Source with ${method} and a limit of its bandwidth lets no page that is asked for wait for it`,
    leavingNoDescriptors(async () => {
      // At this rate the background stream alone would take five minutes.
      using image = await TestImage.make({ ram: 2048 }, { ...COMPRESSIBLE, zeroEvery: 0 });
      const guest = new WorkloadGuest({ threads: 2, untilTouched: true });
      const compress = { method, threads: 8 };
      const how = { guest, compress, maxPostcopyBandwidth: 8e3 };
      await migrate(image.path, how, async (migrated) => {
        assertEachPageOnce(migrated);
        await guest.ended;
        assertEquals(guest.statistics().failures, []);
      });
    }),
  );
}

const ZSTD = { compress: { method: "zstd" } } as const;
const ZLIB = { compress: { method: "zlib" } } as const;

/** What a destination must list, and what is said when it does not. */
const REFUSALS: readonly [string, Partial<SourceOptions>, readonly string[] | undefined, string][] =
  [
    ["a QEMU zstd", { ...ZSTD, mode: "vanilla" }, undefined, "does not understand zstd pages"],
    ["a QEMU zlib beside a preempt channel", ZLIB, undefined, "Postcopy preempt not compatible"],
    [
      "a destination without zstd",
      { ...ZSTD, mode: "vanilla" },
      [EXTENSION.COMPRESS_POSTCOPY, "later"],
      "does not understand zstd pages",
    ],
    [
      "a destination that takes zstd only before the switch",
      ZSTD,
      [EXTENSION.ZSTD],
      "Postcopy preempt not compatible",
    ],
  ];

for (const [what, options, extensions, reason] of REFUSALS) {
  Deno.test(
    `Source refuses ${what}, before it has sent a page`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: 64 }, COMPRESSIBLE);
      const manners = extensions === undefined ? {} : { extensions };
      using destination = await HostileDestination.listen(manners);
      using opened = await openImage(image.path);
      await using source = new Source(opened, { ...options, to: destination.address });
      const run = source.run().then(() => "completed", (error) => error.message);
      const played = destination.play();
      const message = await within("the source to end", run);
      assert(message.includes(reason), message);
      assertEquals(source.statistics().ram.normal, 0);
      assertEquals(source.status, "failed");
      await within("the destination to end", played);
      image.assertUntouched();
    }),
  );
}

Deno.test(
  "Source says that a destination does not tell whether it understands what is asked for",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: 64 }, COMPRESSIBLE);
    using destination = await HostileDestination.listen({ pongs: false });
    using opened = await openImage(image.path);
    await using source = new Source(opened, { ...ZSTD, to: destination.address });
    const run = source.run().then(() => "completed", (error) => error);
    const played = destination.play();
    const { code, message } = await within("the source to end", run);
    assertEquals(code, "STALLED");
    assert(message.includes("has not said for 5 s whether it understands"), message);
    await within("the destination to end", played);
  }),
);

Deno.test("EXTENSIONS holds every extension", () => {
  assertEquals([...EXTENSIONS].sort(), Object.values(EXTENSION).sort());
});
