/** Both ends of this project, and connections between them that break: nothing is lost, each page comes once. */
import "../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK, runsThere } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION);

/** Pages of the image: more than any socket holds. */
const PAGES = { ram: 6000, rom: 96 };
/** Bytes of the main channel after which the guest runs and some pages have come. */
const SOME_BYTES = 3_000_000;

/** A migration through a relay, up to its first pause. */
interface Paused {
  readonly source: Source;
  readonly destination: Destination;
  readonly relay: FaultRelay;
  readonly log: StatusLog;
}

/** Migrates until the connection was cut, acts, and sees that the guest's memory is complete in the end. */
async function afterCut(
  options: Partial<SourceOptions>,
  act: (paused: Paused) => Promise<void>,
): Promise<void> {
  using image = await TestImage.make(PAGES);
  using opened = await openImage(image.path);
  const guest = new StillGuest();
  await using destination = new Destination({ guest });
  await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
  const log = new StatusLog();
  const how = { to: relay.address, onStatus: log.add, ...options };
  await using source = new Source(opened, how);
  // Said before it comes: while the relay waits for the second channel, all may pass by the first.
  let held: Promise<void> | undefined;
  relay.next((main) => held = main.holdAt(SOME_BYTES));
  const run = source.run();
  run.catch(() => {}); // awaited below
  await within("the connections", relay.came(2));
  await within("some pages", held!);
  // One that breaks while it is loaded fails, and there is nothing to recover.
  await runsThere(source, destination);
  relay.cut();
  // A source that fails instead never pauses.
  await within("the pause", Promise.race([log.reached("postcopy-paused"), run]));
  await act({ source, destination, relay, log });
  const { status, ram } = await within("the source to complete", run);
  assertEquals([status, ram.remaining], ["completed", 0]);
  await within("the destination to complete", destination.finished);
  image.assertEqualMemory(guest.blocks);
  assertEquals(source.pauseReason, undefined);
  image.assertUntouched();
}

Deno.test(
  "Source connects again by itself, and each page comes once",
  leavingNoDescriptors(() =>
    afterCut({}, async ({ log, destination }) => {
      await within("the recovery", log.reached("postcopy-recover"));
      await within("the pages", log.reached("postcopy-active", 2));
      assertEquals(destination.statistics().duplicates, 0);
      assert(log.items.some(({ reason }) => reason instanceof MigrationError));
    })
  ),
);

/** Bytes of a recovery's main channel: within the first question, between two, and within RESUME. */
const MOMENTS = [1, 4, 9, 16, 17, 20];
for (const bytes of MOMENTS) {
  Deno.test(
    `Source begins a recovery again that breaks after ${bytes} bytes`,
    leavingNoDescriptors(() =>
      afterCut({}, async ({ relay, log }) => {
        for (let time = 1; time <= 3; time++) {
          // Of each try the main channel comes first. The second may come here after the cut of the first.
          await within("the connection", relay.came(2 * time + 1));
          const main = relay.connections[2 * time]!;
          main.cutAt(bytes);
          await within("the cut", main.over());
          await within("the pause", log.reached("postcopy-paused", time + 1));
        }
        await within("the pages", log.reached("postcopy-active", 2));
      })
    ),
  );
}

Deno.test(
  "Source that was paused by hand waits until it is told to go on, at another address too",
  leavingNoDescriptors(() =>
    afterCut({ maxPostcopyBandwidth: 4 << 20 }, async ({ source, destination, log }) => {
      await within("the pages", log.reached("postcopy-active", 2));
      source.pause();
      await within("the pause", log.reached("postcopy-paused", 2));
      assertThrows(() => source.pause(), MigrationError, "in postcopy can be paused");
      await within("the pause there", destination.waitFor("postcopy-paused"));
      const elsewhere = await destination.recover(LOOPBACK);
      source.recover(elsewhere);
      await within("the pages", log.reached("postcopy-active", 3));
      assertThrows(() => source.recover(), MigrationError, "Only a paused migration");
    })
  ),
);

Deno.test(
  "Source goes on for another that is no more, from the image alone",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make(PAGES);
    using opened = await openImage(image.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    const to = await destination.listen(LOOPBACK);
    {
      await using first = new Source(opened, { to, maxPostcopyBandwidth: 1 });
      first.run().catch(() => {});
      await within("postcopy", destination.waitFor("postcopy-active"));
    }
    await within("the pause", destination.waitFor("postcopy-paused"));
    await using second = new Source(opened, { to, recover: true });
    const { status } = await within("the source to complete", second.run());
    assertEquals(status, "completed");
    await within("the destination to complete", destination.finished);
    image.assertEqualMemory(guest.blocks);
    assertEquals(destination.statistics().duplicates, 0);
  }),
);

Deno.test(
  "Source that may not try again says what became of the guest",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make(PAGES);
    using opened = await openImage(image.path);
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await using source = new Source(opened, {
      to,
      maxPostcopyBandwidth: 1,
      recoverTimeout: 0,
    });
    const outcome = source.run().then(() => undefined, (error) => error);
    await within("postcopy", destination.waitFor("postcopy-active"));
    await destination.close();
    const error = await within("the end", outcome);
    assert(error instanceof MigrationError, String(error));
    assert(error.message.includes("serve the same image with --recover"), error.message);
  }),
);
