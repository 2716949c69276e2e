/** Images that are served over multifd channels to our own ends; memory is compared byte for byte. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertRejects } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Guest } from "../../migration/guest.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { withDirectory } from "../image/captures.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { until, within } from "../support/deadline.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { DESTINATION, keepThreads, MULTIFD, SOURCE } from "../support/kept_threads.ts";
import { StatusLog } from "../support/status_log.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK, migrate, runsThere } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION, ...MULTIFD);

/** Sizes that fill no packet and no word of a bitmap, several blocks, one page alone. */
const BLOCKS = { ram: 4099, "0000:00:02.0/vga.vram": 33, "/rom@etc/table": 1, "pc.bios": 64 };
const METHODS = ["none", "zlib", "zstd"] as const;
/** Machine types by which the rules differ. */
const MACHINES = ["pc-q35-7.2", "pc-q35-8.2", "pc-q35-10.1", "microvm"];

/** What somebody may do to an image that is served. */
const CHANGES: Readonly<Record<string, (path: string) => Promise<void>>> = {
  "cut short": (path) => Deno.truncate(path, 4096),
  "written to": (path) => Deno.writeTextFile(path, "more", { append: true }),
};

for (const compression of METHODS) {
  for (const channels of [1, 3, 16]) {
    Deno.test(
      `Source moves every byte once over ${channels} multifd channels (${compression}), then the guest`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS, { repeats: 4 });
        const guest = new StillGuest();
        const multifd = { channels, compression };
        await migrate(image.path, { guest, multifd, multifdChannels: channels }, (migrated) => {
          assertEachPageOnce(migrated);
          const { source, destination } = migrated;
          assertEquals(source.multifd!.compression, compression);
          assertEquals(source.ram["postcopy-requests"], 0);
          assertGreater(destination["multifd-bytes"]!, source.multifd!.bytes);
          image.assertEqualMemory(guest.blocks);
        });
        image.assertUntouched();
      }),
    );
  }
}

for (const machine of MACHINES) {
  Deno.test(
    `Source sends a ${machine} by the rules of its version, and an image of it is the same`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        using served = await TestImage.make(BLOCKS, { machine });
        const path = `${directory}/copy`;
        await using receiver = new ImageReceiver({ path, multifdChannels: 2 });
        const to = await receiver.listen(LOOPBACK);
        using image = await openImage(served.path);
        const multifd = { channels: 2, compression: "zstd" } as const;
        await using source = new Source(image, { to, multifd });
        await within("both ends", Promise.all([source.run(), receiver.finished]));
        using copy = await openImage(path);
        assertEquals([copy.kind, copy.machine], ["mapped-ram", machine]);
        assertEquals(copy.deviceState, image.deviceState);
        assertImageMemory(copy, served.memory);
      })
    ),
  );
}

for (const mode of MODES) {
  for (const machine of ["pc-q35-7.2", "pc-q35-10.1"]) {
    Deno.test(
      `Source in mode ${mode} sends the rest of a ${machine} on demand after a while of multifd`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS, { machine });
        const guest = new StillGuest();
        await using destination = new Destination({ guest, multifdChannels: 2 });
        const to = await destination.listen(LOOPBACK);
        using opened = await openImage(image.path);
        await using source = new Source(opened, {
          to,
          mode,
          multifd: { channels: 2, compression: "zlib" },
          postcopyAfter: Infinity,
          maxPostcopyBandwidth: 4 << 20,
        });
        const run = source.run();
        await until("some pages", () => source.statistics().multifd!.bytes > 100_000);
        source.startPostcopy();
        source.setMaxPostcopyBandwidth(0);
        await within("both ends", Promise.all([run, destination.finished]));
        const migrated = { source: await run, destination: destination.statistics() };
        assertEachPageOnce(migrated);
        image.assertEqualMemory(guest.blocks);
      }),
    );
  }
}

for (const mode of MODES) {
  Deno.test(
    `Source in mode ${mode} goes on when its connections break behind multifd, without its channels`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make(BLOCKS, { machine: "pc-q35-10.1" });
      const guest = new StillGuest();
      await using destination = new Destination({ guest, multifdChannels: 2 });
      await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
      using opened = await openImage(image.path);
      const log = new StatusLog();
      await using source = new Source(opened, {
        to: relay.address,
        mode,
        multifd: { channels: 2, compression: "zstd" },
        postcopyAfter: Infinity,
        maxPostcopyBandwidth: 1 << 20,
        onStatus: log.add,
      });
      const run = source.run();
      run.catch(() => {});
      await until("some pages", () => source.statistics().multifd!.bytes > 100_000);
      source.startPostcopy();
      await runsThere(source, destination);
      relay.cut();
      await within("the pause", Promise.race([run, log.reached("postcopy-paused")]));
      source.setMaxPostcopyBandwidth(0);
      await within("both ends", Promise.all([run, destination.finished]));
      image.assertEqualMemory(guest.blocks);
      assertEquals(destination.statistics().recoveries, 1);
    }),
  );
}

for (const mode of MODES) {
  Deno.test(
    `ImageReceiver is resumed by a Source in mode ${mode} when that broke behind multifd`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        using served = await TestImage.make(BLOCKS, { machine: "pc-q35-10.1" });
        const path = `${directory}/copy`;
        await using receiver = new ImageReceiver({ path, multifdChannels: 2 });
        await using relay = await FaultRelay.start(await receiver.listen(LOOPBACK));
        using image = await openImage(served.path);
        await using source = new Source(image, {
          to: relay.address,
          mode,
          multifd: { channels: 2 },
          postcopyAfter: Infinity,
          maxPostcopyBandwidth: 1 << 20,
        });
        const run = source.run();
        run.catch(() => {});
        await until("some pages", () => source.statistics().multifd!.bytes > 100_000);
        source.startPostcopy();
        await until("the switch", () => receiver.status === "postcopy-active");
        relay.cut();
        const paused = until("the pause", () => receiver.status === "postcopy-paused");
        await Promise.race([paused, receiver.finished]);
        source.setMaxPostcopyBandwidth(0);
        await within("both ends", Promise.all([run, receiver.finished]));
        using copy = await openImage(path);
        assertImageMemory(copy, served.memory);
      })
    ),
  );
}

Deno.test(
  "Source moves four images at once over three channels each, on one thread of each kind",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({
      urgentThreads: 1,
      bulkThreads: 1,
      compressionThreads: 1,
      linger: 0,
    });
    const move = async (compression: typeof METHODS[number], seed: number) => {
      using image = await TestImage.make(BLOCKS, { seed, repeats: 4 });
      const guest = new StillGuest();
      const multifd = { channels: 3, compression };
      const options = { guest, multifd, multifdChannels: 3, pool };
      await migrate(image.path, options, (migrated) => {
        assertEachPageOnce(migrated);
        image.assertEqualMemory(guest.blocks);
      });
    };
    await Promise.all([...METHODS, "none" as const].map(move));
  }),
);

for (const compression of ["none", "zlib"] as const) {
  for (const [how, change] of Object.entries(CHANGES)) {
    Deno.test(
      `Source gives no guest away whose image was ${how} while it went over multifd (${compression})`,
      leavingNoDescriptors(async () => {
        using image = await TestImage.make(BLOCKS);
        const guest = new StillGuest();
        await using destination = new Destination({ guest, multifdChannels: 2 });
        destination.finished.catch(() => {});
        const to = await destination.listen(LOOPBACK);
        using opened = await openImage(image.path);
        await using source = new Source(opened, {
          to,
          multifd: { channels: 2, compression },
          maxPostcopyBandwidth: 1 << 20,
        });
        const run = source.run();
        run.catch(() => {});
        await until("some pages", () => source.statistics().multifd!.bytes > 100_000);
        await change(image.path);
        const error = await within("the source", assertRejects(() => run, MigrationError));
        assertEquals(error.code, "IMAGE_CHANGED");
        assertEquals([source.ranNowhere, guest.calls], [true, []]);
      }),
    );
  }
}

for (const [what, resets] of [["resets", true], ["closes", false]] as const) {
  Deno.test(
    `Source asks what became of the guest when something ${what} its connections behind the end of multifd`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make(BLOCKS);
      const guest = new class extends StillGuest {
        override load(...args: Parameters<Guest["load"]>): void {
          // What it says from here on comes as far as the relay.
          for (const connection of relay.connections) connection.freeze("back");
          super.load(...args);
        }
      }();
      await using destination = new Destination({ guest, multifdChannels: 2 });
      const address = await destination.listen(LOOPBACK);
      await using relay: FaultRelay = await FaultRelay.start(address, { resets });
      using opened = await openImage(image.path);
      const multifd = { channels: 2 };
      await using source = new Source(opened, { to: relay.address, multifd });
      const run = source.run();
      run.catch(() => {});
      await until("the start there", () => guest.calls.includes("start"));
      relay.cut();
      await within("both ends", Promise.all([run, destination.finished]));
      assertEquals(guest.calls, ["load", "start"]);
      image.assertEqualMemory(guest.blocks);
    }),
  );
}

/** What the destination expects, and what the source opens; what it says. */
const MISMATCHES: readonly (readonly [number | undefined, SourceOptions["multifd"], string])[] = [
  [
    4,
    { channels: 2 },
    "Destination expects 4 multifd channels, and there are 2: give --multifd-channels 4 here, or " +
    "--multifd 2 there",
  ],
  [undefined, { channels: 2 }, "give it --multifd 2"],
];
for (const [expected, multifd, message] of MISMATCHES) {
  Deno.test(
    `Source says at once that a destination expects ${expected ?? "no"} multifd channels, and not ${
      multifd!.channels
    }`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make(BLOCKS);
      await using destination = new Destination({
        guest: new StillGuest(),
        ...expected === undefined ? {} : { multifdChannels: expected },
      });
      const to = await destination.listen(LOOPBACK);
      using opened = await openImage(image.path);
      await using source = new Source(opened, { to, multifd: multifd! });
      const error = await assertRejects(() => source.run(), MigrationError, message);
      assertEquals(source.ranNowhere, true, error.message);
    }),
  );
}
