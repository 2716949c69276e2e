/** A destination of ours whose source is a QEMU that loses its connections and resumes. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { FaultRelay, type Relayed } from "../support/fault_relay.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";

const MiB = 1 << 20;

/** Which connections are broken: the first of those that came since the last break, the second, or both. */
type Broken = "main" | "preempt" | "both";

function breakSome(which: Broken, connections: readonly Relayed[]): void {
  const [main, preempt] = connections;
  const broken = which === "both" ? connections : [which === "main" ? main! : preempt!];
  for (const connection of broken) connection.cut();
}

/** What is broken, one break after the other; with a preempt channel or without. */
const RUNS: readonly { readonly breaks: readonly Broken[]; readonly preempt: boolean }[] = [
  { breaks: ["both", "both"], preempt: true },
  { breaks: ["main", "preempt"], preempt: true },
  { breaks: ["both", "main"], preempt: false },
];

for (const { name, binary, skip } of await testedQemus()) {
  for (const { breaks, preempt } of RUNS) {
    testUnless(
      skip,
      `Destination takes a guest from ${name} ${preempt ? "with" : "without"} postcopy-preempt ` +
        `although ${breaks.join(", then ")} broke`,
      async () => {
        await using stack = new AsyncDisposableStack();
        const qemu = stack.use(await startGuest({ binary }));
        await waitForRound(qemu, 2);
        const guest = new StillGuest();
        const destination = stack.use(new Destination({ guest }));
        const to = await destination.listen(LOOPBACK);
        const relay = stack.use(await FaultRelay.start(to));
        await setCapabilities(qemu, { "postcopy-ram": true, "postcopy-preempt": preempt });
        // Precopy must not be done before it is told to switch, nor all sent before it is broken.
        await setParameters(qemu, { "max-bandwidth": MiB / 2, "max-postcopy-bandwidth": MiB / 2 });
        // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
        await qemu.execute("stop");
        let since = qemu.qmp.events.items.length;
        let broke = 0;
        await qemu.execute("migrate", { uri: relay.uri });
        await qemu.execute("migrate-start-postcopy");
        await within("the guest to start", destination.waitFor("postcopy-active"));
        // Until then 11.1 takes the guest back (postcopy-device).
        await waitForMigration(qemu, ["postcopy-active"], { since });
        const threads: { thread: FaultingThread; page: number }[] = [];
        const touch = (page: number) => {
          const address = guest.blocks[0]!.address + page * 4096;
          threads.push({ thread: stack.use(new FaultingThread(address)), page });
        };
        for (const [round, broken] of breaks.entries()) {
          const before = destination.statistics();
          touch(1000 + round * 4000);
          touch(2000 + round * 4000);
          await until("pages, asked for and not", () => {
            const { received, "preempt-bytes": urgent } = destination.statistics();
            return received > before.received + 50 &&
              (!preempt || urgent > before["preempt-bytes"]);
          });
          const connections = relay.connections.slice(broke);
          broke += connections.length;
          breakSome(broken, connections);
          await within("the pause", destination.waitFor("postcopy-paused"));
          await waitForMigration(qemu, ["postcopy-paused"], { since });
          since = qemu.qmp.events.items.length;
          touch(3000 + round * 4000);
          await qemu.execute("migrate", { uri: relay.uri, resume: true });
          await waitForMigration(qemu, ["postcopy-active"], { since });
          await within("the recovery", destination.waitFor("postcopy-active"));
        }
        await setParameters(qemu, { "max-postcopy-bandwidth": 1000 * MiB });
        await within("the destination", destination.finished);
        await waitForMigration(qemu, ["completed"], { since });
        const { received, pages, duplicates, pauses, recoveries } = destination.statistics();
        assertEquals([received, duplicates], [pages, 0]);
        assertEquals([pauses, recoveries], [breaks.length, breaks.length]);
        const expected = await readRamBlocks(qemu);
        for (const { name, address, length } of guest.blocks) {
          const bytes = expected.get(name); // an old QEMU does not say where all of them are
          if (bytes === undefined) continue;
          assertEquals(Buffer.compare(bytes, viewMemory(address, length)), 0, name);
        }
        const ram = expected.get("pc.ram")!;
        assertGreater(ram.length, 0);
        const view = new DataView(ram.buffer, ram.byteOffset);
        for (const { thread, page } of threads) {
          assertEquals(await thread.found(), view.getInt32(page * 4096 + 5 * 4, true));
        }
      },
    );
  }
}
