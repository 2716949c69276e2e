import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { testUnless } from "../support/skip.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { hurry, switchSlowly } from "./slow_switch.ts";

for (const { name, binary, skip } of await testedQemus()) {
  for (const preempt of [true, false]) {
    testUnless(
      skip,
      `Destination takes a guest from ${name} ${preempt ? "with" : "without"} postcopy-preempt`,
      async () => {
        await using stack = new AsyncDisposableStack();
        const qemu = stack.use(await startGuest({ binary }));
        await waitForRound(qemu, 2);
        const guest = new StillGuest();
        const destination = stack.use(new Destination({ guest }));
        const to = await destination.listen(LOOPBACK);
        // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
        await qemu.execute("stop");
        const since = await switchSlowly(qemu, to, preempt);
        await within("the guest to start", destination.waitFor("postcopy-active"));
        const { address, length } = guest.blocks[0]!;
        const thread = stack.use(new FaultingThread(address + length / 2));
        await until("the request", () => destination.statistics().requests > 0);
        await hurry(qemu);
        // Touches memory in leaps, so that pages are asked for while others stream in.
        const words = guest.words();
        let sum = 0;
        for (let word = 0; word < words.length; word += 1024 * 37) sum += words[word]!;
        await within("the destination", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, duplicates } = destination.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        const expected = await readRamBlocks(qemu);
        for (const { name, address, length } of guest.blocks) {
          const bytes = expected.get(name); // an old QEMU does not say where all of them are
          if (bytes === undefined) continue;
          assertEquals(Buffer.compare(bytes, viewMemory(address, length)), 0, name);
        }
        assertGreater(expected.get("pc.ram")!.length, 0);
        assertEquals(await thread.found(), words[length / 8 + 5]);
      },
    );
  }
}
