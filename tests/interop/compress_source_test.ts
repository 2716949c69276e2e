/** Guests of a QEMU that compresses, taken over by our destination and received into images. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { openImage } from "../../image/open_image.ts";
import { withDirectory } from "../image/captures.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { testUnless } from "../support/skip.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { needsCompress } from "./qemu_version.ts";
import { testedQemus } from "./qemus.ts";

/** Slow enough that precopy is not done before it is told to switch. */
const SLOW = 16 << 10;

/** Has a stopped QEMU send its guest as it compresses; returns when it is through. */
async function send(
  qemu: Qemu,
  to: SocketAddress,
  postcopy: boolean,
  wait: boolean,
): Promise<void> {
  await setCapabilities(qemu, { compress: true, "postcopy-ram": postcopy });
  await setParameters(qemu, {
    "compress-threads": 8,
    "compress-level": 1,
    "compress-wait-thread": wait,
    "max-bandwidth": postcopy ? SLOW : 1e12,
    "max-postcopy-bandwidth": 0,
  });
  // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
  await qemu.stop();
  const since = qemu.qmp.events.items.length;
  await qemu.execute("migrate", { uri: formatSocketAddress(to) });
  if (postcopy) await qemu.execute("migrate-start-postcopy");
  await waitForMigration(qemu, ["completed"], { since });
}

for (const { name, binary, skip } of await testedQemus()) {
  const noCompress = skip ?? await needsCompress(binary);
  for (const wait of [true, false]) {
    for (const postcopy of [false, true]) {
      const how = `${postcopy ? "postcopy" : "precopy"} with compress-wait-thread ${
        wait ? "on" : "off"
      }`;
      testUnless(
        noCompress,
        `Destination has every byte of a guest whose pages are compressed, by ${how}, from ${name}`,
        async () => {
          await using qemu = await startGuest({ binary });
          await waitForRound(qemu, 2);
          let sum = 0;
          const guest = new StillGuest((guest) => {
            const words = guest.words();
            for (let word = 0; word < words.length; word += 1024 * 37) sum += words[word]!;
          });
          await using destination = new Destination({ guest });
          const to = await destination.listen(LOOPBACK);
          await Promise.all([
            send(qemu, to, postcopy, wait),
            within("the destination", destination.finished),
          ]);
          const { received, pages, duplicates, decompression } = destination.statistics();
          assertEquals([received, duplicates], [pages, 0]);
          // Without waiting, it is as many as its threads were free for.
          assertGreater(decompression!.pages, wait ? 1000 : 0);
          const expected = await readRamBlocks(qemu);
          for (const { name, address, length } of guest.blocks) {
            const bytes = expected.get(name); // an old QEMU does not say where all of them are
            if (bytes === undefined) continue;
            assertEquals(Buffer.compare(bytes, viewMemory(address, length)), 0, name);
          }
          assertGreater(expected.get("pc.ram")!.length, 0);
        },
      );
    }
  }

  testUnless(
    noCompress,
    `ImageReceiver has every byte of a guest whose pages are compressed after the switch, from ${name}`,
    () =>
      withDirectory(async (directory) => {
        await using qemu = await startGuest({ binary });
        await waitForRound(qemu, 2);
        const path = `${directory}/image`;
        await using receiver = new ImageReceiver({ path });
        const to = await receiver.listen(LOOPBACK);
        await Promise.all([
          send(qemu, to, true, true),
          within("the image", receiver.finished),
        ]);
        const { received, pages, duplicates, decompression } = receiver.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        assertGreater(decompression!.pages, 1000);
        using image = await openImage(path);
        assertImageMemory(image, await readRamBlocks(qemu));
      }),
  );
}
