/** Restores into stock QEMUs, and migrations out of one, that the daemon is asked for. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { listenForMigration, setCapabilities, waitForMigration } from "../../qemu/migration.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest } from "../interop/saved_guest.ts";
import { testUnless } from "../support/skip.ts";
import { restore } from "./destinations.ts";
import { TestDaemon } from "./test_daemon.ts";

/** Small, for there are ten of them. */
const MACHINE = { memoryMiB: 48, workingSetMiB: 8 };

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(
    skip,
    `the daemon restores a guest into ten ${name} at once, and all count on`,
    async () => {
      await using saved = await SavedGuest.capture({ ...MACHINE, binary });
      await using daemon = await TestDaemon.start();
      await daemon.addImage(saved.path, "guest");
      // One after the other: QEMUs that start all at once take longer.
      const waiting = [];
      for (let i = 0; i < 10; i++) waiting.push(await saved.destination(PREEMPT));
      const sessions = await Promise.all(
        waiting.map(({ uri }) => daemon.done("POST", "/v1/migrations", restore("guest", uri))),
      );
      const ended = await Promise.all(sessions.map(({ id }) => daemon.waits(id)));
      assertEquals(
        ended.map(({ status, reason }) => reason ?? status),
        Array(10).fill("completed"),
      );
      for (const { qemu } of waiting) await saved.countsOn(qemu);
      assertEquals(daemon.mistakes, []);
    },
  );

  testUnless(
    skip,
    `the daemon takes a running ${name} into an image, and restores it`,
    async () => {
      const machine = { ...MACHINE, binary };
      await using daemon = await TestDaemon.start();
      const incoming = { direction: "incoming", image: "taken", listen: "tcp:127.0.0.1:0" };
      const session = await daemon.done("POST", "/v1/migrations", incoming);
      const refused = await daemon.refused("POST", "/v1/migrations", incoming);
      assertEquals(refused.code, "BEING_SERVED");
      const source = await startGuest(machine);
      let output: string;
      try {
        await waitForRound(source, 3);
        await setCapabilities(source, PREEMPT);
        await source.execute("migrate", { uri: session.peer });
        const ended = await daemon.waits(session.id);
        assertEquals([ended.status, ended.reason], ["completed", undefined]);
        await waitForMigration(source, ["completed"]);
      } finally {
        await source.close();
        output = source.serial.text;
      }
      const inspected = await daemon.done<{ kind: string }>("GET", "/v1/images/taken");
      assertEquals(inspected.kind, "mapped-ram");
      const qemu = await startGuest({ ...machine, incoming: true });
      try {
        await setCapabilities(qemu, PREEMPT);
        const port = await listenForMigration(qemu);
        const { id } = await daemon.done(
          "POST",
          "/v1/migrations",
          restore("taken", `tcp:127.0.0.1:${port}`),
        );
        assertEquals((await daemon.waits(id)).status, "completed");
        await qemu.serial.waitForLine("a round", (text) => text.startsWith("round"));
        assert(!qemu.serial.text.includes("BAD"), output + qemu.serial.text);
      } finally {
        await qemu.close();
      }
    },
  );
}
