/** Connections that break after a switch to postcopy behind multifd: main and preempt channel come back alone. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import {
  listenForRecovery,
  setCapabilities,
  setParameters,
  waitForMigration,
} from "../../qemu/migration.ts";
import { Source } from "../../server/source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { freePort } from "../support/free_port.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";
import { needsVersion } from "./needs_version.ts";
import { assertSameMemory } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "./saved_guest.ts";

/** Bytes a second: not all is sent before it is broken. */
const SLOW = 512 << 10;
const CHANNELS = 2;
/** Bytes of a channel: more than the device state, and less than the guest asks for. */
const SOME_BYTES = 600_000;

for (const { name, binary, skip } of await testedQemus()) {
  const noPostcopy = skip ?? await needsVersion(binary, 1001);
  for (const capabilities of [VANILLA, PREEMPT]) {
    const how = capabilities === PREEMPT ? "with" : "without";

    testUnless(
      noPostcopy,
      `Destination takes a guest over multifd and postcopy ${how} preempt although that broke, with ${name}`,
      leavingNoDescriptors(async () => {
        await using qemu = await startGuest({ binary });
        await waitForRound(qemu, 2);
        await qemu.stop(); // what is compared stays as it is
        const guest = new StillGuest();
        await using destination = new Destination({ guest, multifdChannels: CHANNELS });
        await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
        await setCapabilities(qemu, { multifd: true, ...capabilities });
        await setParameters(qemu, {
          "max-bandwidth": SLOW,
          "max-postcopy-bandwidth": SLOW,
          "multifd-channels": CHANNELS,
        });
        let since = qemu.qmp.events.items.length;
        await qemu.execute("migrate", { uri: relay.uri });
        await until("some pages", () => destination.statistics()["multifd-bytes"]! > 200_000);
        await qemu.execute("migrate-start-postcopy");
        await within("the guest", destination.waitFor("postcopy-active"));
        await waitForMigration(qemu, ["postcopy-active"], { since });
        relay.cut();
        await within("the pause", destination.waitFor("postcopy-paused"));
        await waitForMigration(qemu, ["postcopy-paused"], { since });
        since = qemu.qmp.events.items.length;
        await setParameters(qemu, { "max-postcopy-bandwidth": 0 });
        await qemu.execute("migrate", { uri: relay.uri, resume: true });
        await within("the guest", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, recoveries } = destination.statistics();
        assertEquals([received, recoveries], [pages, 1]);
        const memory = guest.blocks.map(({ name, address, length }) =>
          [name, viewMemory(address, length)] as const
        );
        await assertSameMemory(qemu, new Map(memory));
      }),
    );

    testUnless(
      noPostcopy,
      `ImageReceiver leaves a guest to its source when multifd and postcopy ${how} preempt broke, with ${name}`,
      leavingNoDescriptors(() =>
        withDirectory(async (directory) => {
          await using qemu = await startGuest({ binary });
          await waitForRound(qemu, 2);
          await qemu.stop();
          const path = `${directory}/image`;
          await using receiver = new ImageReceiver({ path, multifdChannels: CHANNELS });
          await using relay = await FaultRelay.start(await receiver.listen(LOOPBACK));
          await setCapabilities(qemu, { multifd: true, ...capabilities });
          await setParameters(qemu, {
            "max-bandwidth": SLOW,
            "max-postcopy-bandwidth": SLOW,
            "multifd-channels": CHANNELS,
          });
          const since = qemu.qmp.events.items.length;
          await qemu.execute("migrate", { uri: relay.uri });
          await until("some pages", () => receiver.statistics()["multifd-bytes"]! > 200_000);
          await qemu.execute("migrate-start-postcopy");
          await until("the switch", () => receiver.status === "postcopy-active");
          const { normal } = receiver.statistics();
          // Before, the source may still take it back.
          await until("pages behind it", () => receiver.statistics().normal > normal + 10);
          relay.cut();
          // A QEMU from 10.2 on takes the guest back until all is on the disk.
          const { message } = await receiver.finished.catch((error) => error as Error) as Error;
          assertMatch(message, /the guest is unharmed at the source$/);
          await waitForMigration(qemu, ["failed"], { since });
          assertEquals([...Deno.readDirSync(directory)], []);
        })
      ),
    );

    testUnless(
      noPostcopy,
      `Source goes on ${how} preempt when its connections break behind multifd, with ${name}`,
      leavingNoDescriptors(async () => {
        await using saved = await SavedGuest.capture({ binary, workingSetMiB: 8 });
        using image = await openImage(saved.path);
        const { qemu, address } = await saved.destination(
          { multifd: true, ...capabilities },
          {},
          (qemu) => setParameters(qemu, { "multifd-channels": CHANNELS }),
        );
        await using relay = await FaultRelay.start(address);
        const log = new StatusLog();
        await using source = new Source(image, {
          to: relay.address,
          mode: capabilities === PREEMPT ? "preempt-full" : "vanilla",
          multifd: { channels: CHANNELS },
          postcopyAfter: Infinity,
          maxPostcopyBandwidth: SLOW,
          onStatus: log.add,
        });
        const run = source.run();
        run.catch(() => {});
        await until("some pages", () => source.statistics().ram.normal > 20);
        source.startPostcopy();
        // Main channel, those of multifd, and last the preempt channel: pages on demand come there.
        await within("all channels", relay.came(CHANNELS + (capabilities === PREEMPT ? 2 : 1)));
        const pages = relay.connections[CHANNELS + 1] ?? relay.connections[0]!;
        await within("pages on demand", pages.hasPassed(SOME_BYTES));
        relay.cut();
        await within("the pause", Promise.race([log.reached("postcopy-paused"), run]));
        await waitForMigration(qemu, ["postcopy-paused"]);
        const port = freePort();
        await listenForRecovery(qemu, port);
        relay.redirect({ transport: "tcp", host: "127.0.0.1", port });
        const { ram, multifd } = await within("the source to complete", run, 120_000);
        assertEquals(ram.remaining, 0);
        assertGreater(multifd!.bytes, 0);
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      }),
    );
  }
}
