/** Whole migrations over TLS, between two ends of ours. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK, migrate, runsThere } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";
import { needsOpenssl } from "./authority.ts";
import { KINDS } from "./credentials.ts";

const skip = needsOpenssl();
const BLOCKS = { ram: 4099, "0000:00:02.0/vga.vram": 33, "/rom@etc/table": 1, "pc.bios": 64 };
/** More than any socket holds, and after so many bytes the guest runs. */
const PAGES = { ram: 6000, rom: 96 };
const SOME_BYTES = 3_000_000;

for (const [kind, make] of Object.entries(KINDS)) {
  for (const mode of MODES) {
    testUnless(
      firstOf(skip),
      `Source in mode ${mode} serves threads that write at random, over TLS with ${kind}`,
      leavingNoDescriptors(async () => {
        await using both = await make();
        using image = await TestImage.make(BLOCKS);
        const guest = new WorkloadGuest({ threads: 3, write: true, untilTouched: true });
        const { encryption } = both;
        await migrate(image.path, { mode, guest, encryption }, async (migrated) => {
          assertEachPageOnce(migrated);
          await guest.ended;
          assertEquals(guest.statistics().failures, []);
          assertEquals(guest.statistics().touched, image.pages);
          assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
        });
        image.assertUntouched();
      }),
    );
  }

  for (const compression of ["none", "zstd"] as const) {
    testUnless(
      skip,
      `Source moves pages over 3 multifd channels (${compression}) and TLS with ${kind}`,
      leavingNoDescriptors(async () => {
        await using both = await make();
        using image = await TestImage.make(BLOCKS);
        const guest = new StillGuest();
        const options = { guest, encryption: both.encryption, multifdChannels: 3 };
        const multifd = { channels: 3, compression };
        await migrate(image.path, { ...options, multifd }, (migrated) => {
          assertEachPageOnce(migrated);
          assertGreater(migrated.destination["multifd-bytes"]!, migrated.source.multifd!.bytes);
          image.assertEqualMemory(guest.blocks);
        });
      }),
    );
  }

  testUnless(
    skip,
    `Source moves compressed pages over TLS with ${kind}`,
    leavingNoDescriptors(async () => {
      await using both = await make();
      using image = await TestImage.make(BLOCKS);
      const guest = new StillGuest();
      const { encryption } = both;
      await migrate(image.path, { guest, encryption, compress: { method: "zlib" } }, (migrated) => {
        assertEachPageOnce(migrated);
        image.assertEqualMemory(guest.blocks);
      });
    }),
  );

  for (const mode of MODES) {
    testUnless(
      skip,
      `Source in mode ${mode} goes on after each break of its connections over TLS with ${kind}`,
      leavingNoDescriptors(async () => {
        await using both = await make();
        const { source: client, destination: server } = both.encryption;
        using image = await TestImage.make(PAGES);
        using opened = await openImage(image.path);
        const guest = new StillGuest();
        await using destination = new Destination({ guest, tls: server });
        await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
        const log = new StatusLog();
        await using source = new Source(opened, {
          ...{ mode, to: relay.address, tls: client, onStatus: log.add },
        });
        const channels = mode === "vanilla" ? 1 : 2;
        let held: Promise<void> | undefined;
        // Said before it comes: while the relay waits for the second channel, all may pass by the first.
        const hold = () => relay.next((main) => held = main.holdAt(SOME_BYTES));
        hold();
        const run = source.run();
        run.catch(() => {}); // awaited below
        for (let cut = 0; cut < 3; cut++) {
          await within("the connections", relay.came((cut + 1) * channels));
          await within("some pages", held!);
          await runsThere(source, destination);
          if (cut < 2) {
            hold();
            if (channels === 2) relay.next(() => {}); // the preempt connection
          }
          relay.cut();
          await within("the pause", log.reached("postcopy-paused", cut + 1));
        }
        const { ram } = await within("the source to complete", run);
        assertEquals(ram.remaining, 0);
        await within("the destination to complete", destination.finished);
        image.assertEqualMemory(guest.blocks);
        image.assertUntouched();
      }),
    );
  }
}
