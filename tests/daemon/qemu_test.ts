/** A daemon, and real QEMUs that its guests run in. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import { run } from "../command/command_lines.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest } from "../interop/saved_guest.ts";
import { freePort } from "../support/free_port.ts";
import { testUnless } from "../support/skip.ts";
import { DaemonPlace } from "./daemon_process.ts";
import { HELD_OFF, letGo } from "./held_off.ts";

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(
    skip,
    `daemon that was killed and started again completes a restore into a paused ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      await using place = new DaemonPlace();
      place.configure({ vm: saved.path });
      const { qemu, uri } = await saved.destination(PREEMPT);
      const first = await place.start();
      const { id } = await first.migrate("vm", uri, HELD_OFF);
      await qemu.waitUntilRunning();
      await first.reaches(id, "postcopy-active");
      await first.end("SIGKILL");
      await waitForMigration(qemu, ["postcopy-paused"]);
      const second = await place.start();
      // It tries where the destination was, where nobody listens any more, and says what to type there.
      const paused = await second.reaches(id, "postcopy-paused");
      assertEquals(paused.recover, `migrate_recover ${uri}`);
      assertStringIncludes(paused.remedy!, `migrate_recover ${uri}`);
      const port = freePort();
      await listenForRecovery(qemu, port);
      const to = `tcp:127.0.0.1:${port}`;
      const words = ["recover", id, "--to", to, "--daemon", `unix:${place.socket}`];
      const { code, errors } = await run("main.ts", ...words);
      assertEquals(code, 0, errors);
      await second.reaches(id, "postcopy-active");
      await letGo(second, id);
      const ended = await second.reaches(id, "ended");
      assertEquals(ended.status, "completed", ended.reason);
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      assertEquals(place.kept, []);
      assertEquals(saved.marks, []);
      saved.assertUntouched();
    },
  );

  testUnless(
    skip,
    `daemon that is told to end finishes a restore into ${name} first`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      await using place = new DaemonPlace();
      place.configure({ vm: saved.path });
      const { qemu, uri } = await saved.destination(PREEMPT);
      const daemon = await place.start();
      const { id } = await daemon.migrate("vm", uri, HELD_OFF);
      await qemu.waitUntilRunning();
      await daemon.reaches(id, "postcopy-active");
      daemon.kill("SIGTERM");
      assertEquals(await daemon.says("takes no more sessions"), true);
      assertEquals((await daemon.session(id)).status, "postcopy-active");
      await letGo(daemon, id);
      const { code, errors } = await daemon.ended;
      assertEquals(code, 0, errors);
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      assertEquals(saved.marks, []);
    },
  );
}
