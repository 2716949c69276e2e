/** Stock QEMU with multifd on, into the memory of a guest in this process; in clear and over TLS. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { withDirectory } from "../image/captures.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { SOURCE_KINDS, type SourceShared } from "./qemu_source_credentials.ts";
import { assertSameMemory, readRamBlocks } from "./qemu_memory.ts";
import { needsVersion } from "./needs_version.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, VANILLA } from "./saved_guest.ts";

const FAST = 1e12;
const SLOW = 512 << 10;

function memoryOf(guest: StillGuest): Map<string, Uint8Array> {
  return new Map(
    guest.blocks.map(({ name, address, length }) => [name, viewMemory(address, length)]),
  );
}

/** How a QEMU sends over TLS. */
async function sendOverTls(qemu: Qemu, shared: SourceShared, to: SocketAddress): Promise<number> {
  await shared.give(qemu);
  await qemu.stop();
  await setCapabilities(qemu, { multifd: true, "return-path": true });
  await setParameters(qemu, {
    "max-bandwidth": FAST,
    "multifd-channels": 4,
    "multifd-compression": "zstd",
  });
  const since = qemu.qmp.events.items.length;
  await qemu.execute("migrate", { uri: formatSocketAddress(to) });
  return since;
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const method of ["none", "zlib", "zstd"]) {
    for (const backing of ["anonymous", "memfd"] as const) {
      testUnless(
        skip,
        `Destination takes a guest over multifd (${method}) into memory that is ${backing}, with ${name}`,
        leavingNoDescriptors(async () => {
          await using qemu = await startGuest({ binary });
          await waitForRound(qemu, 2);
          const guest = new StillGuest();
          await using destination = new Destination({ guest, backing, multifdChannels: 3 });
          const to = await destination.listen(LOOPBACK);
          // Before, QEMU without KVM loses many of the guest's writes, on its own way too.
          if (!qemu.atLeast(10, 0)) await qemu.stop();
          await setCapabilities(qemu, { multifd: true, "return-path": true });
          await setParameters(qemu, {
            "max-bandwidth": 64 << 20,
            "multifd-channels": 3,
            "multifd-compression": method,
          });
          const since = qemu.qmp.events.items.length;
          await qemu.execute("migrate", { uri: formatSocketAddress(to) });
          await within("the guest", destination.finished);
          await waitForMigration(qemu, ["completed"], { since });
          const { received, pages, ...rest } = destination.statistics();
          assertEquals(received, pages);
          assertGreater(rest["multifd-bytes"]!, 3 * 64);
          await assertSameMemory(qemu, memoryOf(guest));
        }),
      );
    }
  }

  for (
    const [way, capabilities] of [["", VANILLA], [" with a preempt channel", PREEMPT]] as const
  ) {
    testUnless(
      skip ?? await needsVersion(binary, 1001),
      `Destination takes a guest over multifd and a switch to postcopy${way}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using qemu = await startGuest({ binary });
        await waitForRound(qemu, 2);
        const guest = new StillGuest();
        await using destination = new Destination({ guest, multifdChannels: 2 });
        const to = await destination.listen(LOOPBACK);
        await qemu.stop(); // what is compared stays as it is
        await setCapabilities(qemu, { multifd: true, ...capabilities });
        await setParameters(qemu, {
          "max-bandwidth": SLOW,
          "max-postcopy-bandwidth": 0,
          "multifd-channels": 2,
        });
        const since = qemu.qmp.events.items.length;
        await qemu.execute("migrate", { uri: formatSocketAddress(to) });
        await until("some pages", () => destination.statistics()["multifd-bytes"]! > 200_000);
        await qemu.execute("migrate-start-postcopy");
        await within("the guest", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages } = destination.statistics();
        assertEquals(received, pages);
        await assertSameMemory(qemu, memoryOf(guest));
      }),
    );
  }

  for (const [kind, share] of Object.entries(SOURCE_KINDS)) {
    testUnless(
      firstOf(skip, needsOpenssl()),
      `ImageReceiver takes a guest over multifd and TLS with ${kind}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using shared = await share();
        await withDirectory(async (directory) => {
          const path = `${directory}/image`;
          await using qemu = await startGuest({ binary });
          await waitForRound(qemu, 2);
          const options = { path, ...shared.receiver, multifdChannels: 4 };
          await using receiver = new ImageReceiver(options);
          const since = await sendOverTls(qemu, shared, await receiver.listen(LOOPBACK));
          await within("the image", receiver.finished);
          await waitForMigration(qemu, ["completed"], { since });
          using image = await openImage(path);
          assertImageMemory(image, await readRamBlocks(qemu));
        });
      }),
    );

    testUnless(
      firstOf(skip, needsOpenssl()),
      `Destination takes a guest over multifd and TLS with ${kind}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using shared = await share();
        await using qemu = await startGuest({ binary });
        await waitForRound(qemu, 2);
        const guest = new StillGuest();
        const options = { guest, ...shared.receiver, multifdChannels: 4 };
        await using destination = new Destination(options);
        const since = await sendOverTls(qemu, shared, await destination.listen(LOOPBACK));
        await within("the guest", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        await assertSameMemory(qemu, memoryOf(guest));
      }),
    );
  }
}
