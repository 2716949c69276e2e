import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { testUnless } from "../support/skip.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";

for (const { name, binary, skip } of await testedQemus()) {
  for (const preempt of [true, false]) {
    testUnless(
      skip,
      `Destination takes a guest from ${name} ${preempt ? "with" : "without"} postcopy-preempt`,
      async () => {
        await using qemu = await startGuest({ binary });
        await waitForRound(qemu, 2);
        // Touches memory in leaps, so that pages are asked for while others stream in.
        let sum = 0;
        const guest = new StillGuest((guest) => {
          const words = guest.words();
          for (let word = 0; word < words.length; word += 1024 * 37) sum += words[word]!;
        });
        await using destination = new Destination({ guest });
        const to = await destination.listen(LOOPBACK);
        await setCapabilities(qemu, { "postcopy-ram": true, "postcopy-preempt": preempt });
        // Precopy must not be done before it is told to switch, nor all sent before the guest asks.
        await setParameters(qemu, { "max-bandwidth": 4 << 20, "max-postcopy-bandwidth": 4 << 20 });
        // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
        await qemu.execute("stop");
        const since = qemu.qmp.events.items.length;
        await qemu.execute("migrate", { uri: formatSocketAddress(to) });
        await qemu.execute("migrate-start-postcopy");
        await within("the destination", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, duplicates, requests } = destination.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        assertGreater(requests, 0);
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
