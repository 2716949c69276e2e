/** A recovery of a real QEMU in which all falls silent: it is given up, and the QEMU comes through that. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay, type Relayed } from "../support/fault_relay.ts";
import { freePort } from "../support/free_port.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StatusLog } from "../support/status_log.ts";
import { needsVersion } from "./qemu_version.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest } from "./saved_guest.ts";

/** Bytes a second: the guest needs longer than a test takes to break its connection. */
const SLOW = 2 << 20;
/** Milliseconds, of a source that goes on for another: it has but a few bytes to hear. */
const STALL_TIMEOUT = 10_000;

/** Where a recovery's main connection falls silent. */
const FREEZES: readonly [string, (main: Relayed) => void][] = [
  ["its answers are lost", (main) => main.freeze("back")],
  // Behind the first piece, which holds all questions.
  ["RESUME is lost", (main) => void main.hasPassed(1).then(() => main.freeze("onward"))],
];

for (const { name, binary, skip } of await testedQemus()) {
  const old = skip === undefined
    ? await needsVersion(binary, 8, 2, "recovery that may break")
    : undefined;
  for (const [what, freeze] of FREEZES) {
    testUnless(
      firstOf(skip, old),
      `Source gives up a recovery of which ${what}, and makes another, with ${name}`,
      leavingNoDescriptors(async () => {
        await using saved = await SavedGuest.capture({ binary });
        using image = await openImage(saved.path);
        const { qemu, address } = await saved.destination(PREEMPT);
        await using relay = await FaultRelay.start(address);
        {
          await using first = new Source(image, { to: relay.address, maxPostcopyBandwidth: SLOW });
          first.run().catch(() => {});
          await qemu.waitUntilRunning();
        }
        const listenAgain = async (): Promise<void> => {
          await waitForMigration(qemu, ["postcopy-paused"]);
          const port = freePort();
          await listenForRecovery(qemu, port);
          relay.redirect({ transport: "tcp", host: "127.0.0.1", port });
        };
        await within("the destination's pause", listenAgain());
        const log = new StatusLog();
        // What the machine type tells is all that it knows of the destination.
        const options = { stallTimeout: STALL_TIMEOUT, onStatus: log.add, recover: true };
        await using source = new Source(image, { to: relay.address, ...options });
        relay.next(freeze);
        const run = source.run();
        run.catch(() => {}); // awaited below
        await within("the recovery", log.reached("postcopy-recover"));
        await within("the end of the recovery", log.reached("postcopy-paused", 2));
        const { code } = source.pauseReason as { code?: string };
        relay.cut(); // as whatever was silent forgets the connection
        await within("the destination's pause", listenAgain());
        const { status } = await within("the source to complete", run, 120_000);
        assertEquals([status, code], ["completed", "STALLED"]);
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      }),
    );
  }
}
