/** Silence in the middle of a recovery: the source gives that try up, where the destination comes through it. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { recoveryRules } from "../../server/outgoing/machine_type.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay, type Relayed, type Way } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK, runsThere } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION);

const PAGES = 600;
/** Bytes a second: pages are left when the connection breaks. */
const SLOW = 1 << 20;
/** Milliseconds; a try that is given up without need is only made again. */
const STALL_TIMEOUT = 2_000;
/** Bytes of the one question for a bitmap: what comes behind it is RESUME. */
const QUESTION = 5 + 1 + "ram".length;

/** What becomes of a recovery's main connection. */
const FREEZES: readonly [string, (main: Relayed) => void][] = [
  ...(["onward", "back", "both"] as const).map((way: Way): [string, (main: Relayed) => void] => [
    `before the first byte, ${way}`,
    (main) => main.freeze(way),
  ]),
  ["before RESUME", (main) => void main.hasPassed(QUESTION).then(() => main.freeze("onward"))],
];

for (const [when, freeze] of FREEZES) {
  Deno.test(
    `Source gives up a recovery in which all falls silent ${when}, and makes another`,
    leavingNoDescriptors(async () => {
      using file = await TestImage.make({ ram: PAGES });
      using image = await openImage(file.path);
      const guest = new StillGuest();
      await using destination = new Destination({ guest });
      await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
      const log = new StatusLog();
      await using source = new Source(image, {
        to: relay.address,
        maxPostcopyBandwidth: SLOW,
        stallTimeout: STALL_TIMEOUT,
        onStatus: log.add,
      });
      const run = source.run();
      run.catch(() => {}); // awaited below
      await runsThere(source, destination);
      // Every connection, however often it is tried: an idle preempt connection says nothing anyway.
      let freezing = true;
      const next = (connection: Relayed): void => {
        if (!freezing) return;
        relay.next(next);
        freeze(connection);
      };
      relay.next(next);
      relay.cut();
      for (let time = 2; time <= 3; time++) {
        await within("the pause", log.reached("postcopy-paused", time));
        const { reason } = log.items.filter(({ status }) => status === "postcopy-paused").at(-1)!;
        assert(reason instanceof MigrationError, String(reason));
        assertEquals(reason.code, "STALLED");
      }
      freezing = false;
      source.setMaxPostcopyBandwidth(0);
      const { ram } = await within("the source to complete", run);
      await within("the destination to complete", destination.finished);
      assertEquals(ram.remaining, 0);
      file.assertEqualMemory(guest.blocks);
      assertEquals([guest.calls, destination.statistics().duplicates], [["load", "start"], 0]);
    }),
  );
}

Deno.test(
  "Source that knows nothing of the destination waits for the end of a recovery, however long that takes",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
    {
      await using first = new Source(image, { to: relay.address, maxPostcopyBandwidth: SLOW });
      first.run().catch(() => {});
      await within("the guest to run", destination.waitFor("postcopy-active"));
    }
    await within("the pause", destination.waitFor("postcopy-paused"));
    const log = new StatusLog();
    const stallTimeout = 1_000;
    const options = { to: relay.address, stallTimeout, onStatus: log.add, recover: true };
    await using second = new Source(image, options);
    relay.next((main) => {
      main.freeze();
      // Long after one that knows would have given up.
      setTimeout(() => main.thaw(), 3 * stallTimeout);
    });
    await within("both ends", Promise.all([second.run(), destination.finished]));
    assertEquals(
      log.items.map(({ status }) => status),
      ["postcopy-paused", "postcopy-recover", "postcopy-active", "completed"],
    );
    file.assertEqualMemory(guest.blocks);
  }),
);

Deno.test("recoveryRules knows which machine types no QEMU has that dies of a broken recovery", () => {
  const through = ["pc-q35-11.1", "virt-10.0", "pc-q35-8.2", "pc-i440fx-9.0"];
  const others = ["pc-q35-8.1", "pc-q35-7.2", "microvm", "rhel9.2.0", "pc-q35-jammy"];
  for (const machine of through) assert(recoveryRules(machine).mayBreak, machine);
  for (const machine of others) assert(!recoveryRules(machine).mayBreak, machine);
});
