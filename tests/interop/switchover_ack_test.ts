/** Stock QEMU with switchover-ack on, at either end. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { withDirectory } from "../image/captures.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { needsVersion } from "./needs_version.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

/** Machine types, and the first QEMU that has them; undefined: the QEMU's newest. */
const MACHINES: readonly (readonly [string | undefined, number])[] = [
  ["pc-q35-8.1", 801],
  ["pc-q35-11.0", 1100],
  [undefined, 801],
];

for (const { name, binary, skip } of await testedQemus()) {
  for (const [type, least] of MACHINES) {
    const machine = { binary, tick: 64, ...type === undefined ? {} : { machine: type } };
    for (const multifd of [undefined, 2]) {
      testUnless(
        skip ?? await needsVersion(binary, least),
        `ImageReceiver approves the switchover of a running ${type ?? "newest machine"} over ${
          multifd ?? "no"
        } multifd channels, with ${name}`,
        leavingNoDescriptors(() =>
          withDirectory(async (directory) => {
            const path = `${directory}/image`;
            await using qemu = await startGuest(machine);
            const channels = multifd === undefined ? {} : { multifdChannels: multifd };
            await using receiver = new ImageReceiver({ path, switchoverAck: true, ...channels });
            const uri = formatSocketAddress(await receiver.listen(LOOPBACK));
            await waitForRound(qemu, 2);
            await setCapabilities(qemu, {
              "return-path": true,
              "switchover-ack": true,
              ...multifd === undefined ? {} : { multifd: true },
            });
            await setParameters(qemu, {
              "max-bandwidth": 64 << 20,
              ...multifd === undefined ? {} : { "multifd-channels": multifd },
            });
            const since = qemu.qmp.events.items.length;
            await qemu.execute("migrate", { uri });
            await within("the image", receiver.finished);
            await waitForMigration(qemu, ["completed"], { since });
            using image = await openImage(path);
            assertImageMemory(image, await readRamBlocks(qemu));
          })
        ),
      );
    }

    testUnless(
      skip ?? await needsVersion(binary, least),
      `serve --switchover-ack waits for a QEMU's approval of a ${
        type ?? "newest machine"
      }, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture(machine);
        const capabilities = { ...PREEMPT, "return-path": true, "switchover-ack": true };
        const { qemu, uri } = await saved.destination(capabilities);
        const { code, stderr } = await serve(saved.path, uri, "--switchover-ack");
        assertEquals(code, 0, stderr);
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      },
    );
  }

  testUnless(
    skip ?? await needsVersion(binary, 801),
    `serve --switchover-ack hands nothing over to a QEMU where that is off, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, machine: "pc-q35-8.1", tick: 64 });
      const { uri } = await saved.destination(PREEMPT);
      const args = ["--switchover-ack", "--stall-timeout", "2"];
      const { code, stderr } = await serve(saved.path, uri, ...args);
      assertEquals(code, 1, stderr);
      assertMatch(stderr, /has not approved the switchover for 2 s/);
      saved.assertUntouched();
    },
  );
}
