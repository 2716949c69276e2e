/** The service postcopy under a real systemd: what it is to its host, and what becomes of its guests. */

import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import type { DaemonCalls } from "../daemon/daemon_calls.ts";
import { Waiting } from "../daemon/destinations.ts";
import { begin, completes, HELD_OFF, letGo, PAGES } from "../daemon/held_off.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest } from "../interop/saved_guest.ts";
import { until, within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { TestImage } from "../support/images.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { documentedBlock, Installation } from "./installation.ts";
import { host, needsSystemd } from "./test_host.ts";

let installation: Promise<Installation> | undefined;

/** The service, which the first test that wants it installs. */
function installed(): Promise<Installation> {
  return installation ??= Installation.on(host);
}

/** Whether some line of `/proc/PID/status` has a value. */
function has(status: string, name: string, value: string): boolean {
  return new RegExp(`^${name}:\\s*${value}\\b`, "m").test(status);
}

testUnless(
  needsSystemd,
  "docs/daemon.md has the lines that make a service of a bare host, which systemd takes for ready",
  async () => {
    const { unit, printed } = await installed();
    assertStringIncludes(printed, "Configuration can be used: /etc/postcopy/daemon.toml");
    assertStringIncludes(printed, "No sessions");
    const properties = ["ActiveState", "SubState", "UnitFileState", "StatusText", "NRestarts"];
    const found = await Promise.all(properties.map((property) => unit.show(property)));
    assertEquals(found, ["active", "running", "enabled", "0 sessions, 0 paused", "0"]);
    await unit.says("Ready config=/etc/postcopy/daemon.toml");
  },
);

testUnless(
  needsSystemd,
  "postcopy.service has no right of root's, and writes where it is to and nowhere else",
  async () => {
    const { unit } = await installed();
    const pid = await unit.mainPid();
    const status = await host.run("cat", `/proc/${pid}/status`);
    for (const set of ["CapEff", "CapPrm", "CapBnd"]) assert(has(status, set, "0+"), status);
    assert(has(status, "NoNewPrivs", "1") && has(status, "Seccomp", "2"), status);
    assert(!has(status, "Uid", "0"), status);
    // Root in the service's own view of the host: it is the mounts that refuse.
    const writes = async (directory: string) => {
      const file = `${directory}/written`;
      const { code } = await host.try("nsenter", "--target", `${pid}`, "--mount", "touch", file);
      return code === 0;
    };
    for (const directory of ["/var/lib/postcopy/state", "/run/postcopy", "/tmp"]) {
      assertEquals([directory, await writes(directory)], [directory, true]);
    }
    const others = ["/", "/etc/postcopy", "/opt/postcopy", "/usr/local/bin", "/var/lib", "/srv"];
    for (const directory of [...others, "/root", "/home", "/sys/fs/cgroup"]) {
      assertEquals([directory, await writes(directory)], [directory, false]);
    }
    await host.run("rm", "/var/lib/postcopy/state/written");
  },
);

testUnless(
  needsSystemd,
  "systemctl reload has the service read its configuration again, and leaves its process as it is",
  async () => {
    const { unit } = await installed();
    const pid = await unit.mainPid();
    const file = `${host.root}/etc/postcopy/daemon.toml`;
    const text = await Deno.readTextFile(file);
    const line = /^# files = .*$/m;
    assertMatch(text, line);
    await Deno.writeTextFile(
      file,
      text.replace(line, 'files = { "other" = "/opt/postcopy/LICENSE" }'),
    );
    await unit.control("reload");
    await unit.says("Configuration was read again");
    assertStringIncludes(await host.run("postcopy", "images"), "other");
    await unit.comes("ActiveState", (state) => state === "active");
    // What cannot be used changes nothing.
    const reloads = await unit.said("all stays as it was");
    await Deno.writeTextFile(file, text.replace("[limits]", "[limit]"));
    await unit.control("reload");
    await unit.says("all stays as it was", reloads);
    await unit.comes("ActiveState", (state) => state === "active");
    assertStringIncludes(await host.run("postcopy", "images"), "other");
    await Deno.writeTextFile(file, text);
    await unit.control("reload");
    await until("the other image to be gone", async () => {
      return !(await host.run("postcopy", "images")).includes("other");
    });
    assertEquals(await unit.mainPid(), pid);
  },
);

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(
    firstOf(needsSystemd, skip),
    `docs/daemon.md has the lines by which the service restores a guest into ${name}`,
    async () => {
      const service = await installed();
      await using saved = await SavedGuest.capture({ binary });
      await service.putImages({ "vm.img": saved.bytes });
      assertStringIncludes(await host.shell(...await documentedBlock("chgrp")), "vm.img");
      const { qemu, uri } = await saved.destination(PREEMPT);
      const lines = await documentedBlock("postcopy migrate");
      await host.shell(...lines.map((line) => line.replace("tcp:DESTINATION:4444", uri)));
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      assertEquals(service.kept, []);
    },
  );

  testUnless(
    firstOf(needsSystemd, skip),
    `postcopy.service that is killed in mid-flight is started by systemd, and goes on to ${name}`,
    async () => {
      const service = await installed();
      const { unit } = service;
      await using saved = await SavedGuest.capture({ binary });
      await service.putImages({ "vm.img": saved.bytes });
      await host.shell(...await documentedBlock("chgrp"));
      const { qemu, uri } = await saved.destination(PREEMPT);
      let id;
      {
        using first = await service.daemon();
        ({ id } = await first.migrate("vm.img", uri, HELD_OFF));
        await qemu.waitUntilRunning();
        await first.reaches(id, "postcopy-active");
        await unit.startedAgainAfter(() => unit.control("kill", "--signal=KILL"));
      }
      await unit.says("Failed with result 'signal'");
      await waitForMigration(qemu, ["postcopy-paused"]);
      using second = await service.daemon();
      const { remedy } = await second.reaches(id, "postcopy-paused");
      assertStringIncludes(remedy!, `migrate_recover ${uri}`);
      const port = freePort();
      await listenForRecovery(qemu, port);
      await host.run("postcopy", "recover", id, "--to", `tcp:127.0.0.1:${port}`);
      await second.reaches(id, "postcopy-active");
      await letGo(second, id);
      assertEquals((await second.reaches(id, "ended")).status, "completed");
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      assertEquals(service.kept, []);
    },
  );
}

/** Has a guest of ours run, by the service, that lacks nearly everything, and does something to the service. */
async function withGuest(
  act: (at: {
    service: Installation;
    image: TestImage;
    waiting: Waiting;
    daemon: DaemonCalls;
    id: string;
  }) => Promise<void>,
): Promise<void> {
  const service = await installed();
  using image = await TestImage.make(PAGES);
  await service.putImage(image.path);
  await using waiting = await Waiting.start();
  using daemon = await service.daemon();
  const id = await begin(daemon, waiting, "image");
  await act({ service, image, waiting, daemon, id });
  assertEquals(service.kept, []);
}

testUnless(
  needsSystemd,
  "postcopy.service that hangs is ended by systemd's watchdog and started again, and its guest gets every byte",
  async () => {
    const { unit } = await installed();
    await using _changed = await unit.changed({ WatchdogSec: "2" });
    await unit.control("restart");
    const timeouts = await unit.said("Watchdog timeout");
    await withGuest(async ({ service, image, waiting, id }) => {
      // Well, it says so in time.
      const heard = await unit.show("WatchdogTimestampMonotonic");
      await unit.comes("WatchdogTimestampMonotonic", (time) => Number(time) > Number(heard));
      assertEquals(await unit.said("Watchdog timeout"), timeouts);
      const paused = waiting.destination.waitFor("postcopy-paused");
      await unit.startedAgainAfter(() => unit.control("kill", "--kill-whom=main", "--signal=STOP"));
      await unit.says("Watchdog timeout", timeouts);
      await unit.says("Failed with result 'watchdog'");
      await within("the pause", paused);
      await within("the recovery", waiting.destination.waitFor("postcopy-active"));
      using second = await service.daemon();
      await completes(second, id, image, waiting);
    });
  },
);

testUnless(
  needsSystemd,
  "systemctl stop ends the service when its guest has every byte, however long that takes, and no sooner",
  async () => {
    const { unit } = await installed();
    // Its own time to end is over while the guest still needs it.
    await using _changed = await unit.changed({ TimeoutStopSec: "1" });
    await withGuest(async ({ image, waiting, daemon, id }) => {
      const update = host.shell(...await documentedBlock("systemctl stop"));
      update.catch(() => {}); // told below
      await unit.comes("ActiveState", (state) => state === "deactivating");
      await unit.comes("StatusText", (text) => text === "Ending: 1 sessions, 0 paused");
      const since = Number(await unit.show("StateChangeTimestampMonotonic"));
      await until("systemd's patience to be over, were it not told of more", async () => {
        const [uptime] = (await Deno.readTextFile("/proc/uptime")).split(" ");
        return Number(uptime) * 1e6 > since + 2e6;
      });
      assertEquals(await unit.show("ActiveState"), "deactivating");
      assertEquals((await daemon.session(id)).status, "postcopy-active");
      await letGo(daemon, id);
      await waiting.hasAll(image);
      // What stands behind it starts the service again.
      assertStringIncludes(await update, "Configuration can be used");
      assertEquals(await unit.show("ActiveState"), "active");
      await unit.says("Ended: no guest needs this any more");
      assertEquals(await unit.said("State 'stop-sigterm' timed out"), 0);
    });
  },
);
