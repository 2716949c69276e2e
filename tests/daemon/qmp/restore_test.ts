/** Guests restored into waiting QEMUs by one command, that speaks to their monitors. */
import "../../support/native.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { GuestMachine } from "../../../qemu/guest.ts";
import { queryMigrate, waitForMigration } from "../../../qemu/migration.ts";
import { GrantedHugePages, needsHugePages } from "../../huge/granted_pages.ts";
import { HUGE_ARGUMENTS, PLAIN_ARGUMENTS, QEMU_HUGE_PAGES } from "../../huge/qemu_machine.ts";
import { readMemory } from "../../image/reference.ts";
import { needsVersion } from "../../interop/qemu_version.ts";
import { assertSameMemory } from "../../interop/qemu_memory.ts";
import { testedQemus } from "../../interop/qemus.ts";
import { SavedGuest } from "../../interop/saved_guest.ts";
import { firstOf, testUnless } from "../../support/skip.ts";
import { privateSockets, qmpOf, RestoreProcess, settingsOf } from "./monitored.ts";

/** Machine types of both rules for the preempt channel, and one that does not tell. */
const MACHINES: readonly GuestMachine[] = [
  { machine: "q35" },
  { machine: "pc-q35-7.2" },
  { machine: "isapc", disk: "ide" },
];

/** QEMUs that do not fit a guest on q35 with 64 MiB, and what is said of them. */
const MISFITS: readonly [string, GuestMachine, RegExp][] = [
  [
    "of another machine type",
    { machine: "pc" },
    /QEMU has machine type pc-i440fx-\S+, the image pc-q35-/,
  ],
  ["with less memory", { memoryMiB: 32 }, /QEMU has 32.* in RAM block pc\.ram, the image 64/],
  ["with more memory", { memoryMiB: 128 }, /QEMU has 128.* in RAM block pc\.ram, the image 64/],
  [
    "with a block that the image lacks",
    { args: ["-device", "VGA"] },
    /QEMU has RAM blocks that the image lacks.*vga/,
  ],
  [
    "whose guest runs",
    { incoming: false },
    /does not wait for a guest, query-status says: running/,
  ],
  ["that is stopped", { incoming: false, stopped: true }, /query-status says: (prelaunch|paused)/],
];

for (const { name, binary, skip } of await testedQemus()) {
  for (const machine of MACHINES) {
    testUnless(
      skip,
      `restore lets a guest on ${machine.machine} count on in a QEMU that only waits, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture({ binary, tick: 64, ...machine });
        const qemu = await saved.waiting();
        await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
        const restored = await restore.restored();
        assertEquals(restored.status, "completed");
        assertEquals(restored.mode, "preempt-full");
        assertEquals(restored.destination?.status, "completed");
        assertEquals(typeof restored.destination?.["postcopy-blocktime"], "number");
        const events = restored["destination-events"]!.map(({ event }) => event);
        assertEquals(events.filter((event) => event === "RESUME"), ["RESUME"]);
        assertStringIncludes((await restore.ended).errors, "QEMU: the guest runs\n");
        assertEquals(privateSockets(qemu), []);
        await saved.countsOn(qemu);
        saved.assertUntouched();
        assertEquals(saved.marks, []);
      },
    );
  }

  const fills: [string, string[]][] = [
    ["a private socket", []],
    ["a port that QEMU chooses", ["--listen-uri", "tcp:127.0.0.1:0"]],
    ["mode vanilla", ["--mode", "vanilla"]],
    ["two channels of multifd", ["--multifd-channels", "2"]],
    ["any address", ["--listen-uri", "tcp:0.0.0.0:0"]],
  ];
  for (const [way, args] of fills) {
    testUnless(
      skip,
      `restore gives a stopped guest every byte of its image by ${way}, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const qemu = await saved.waiting({ stopped: true });
        await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...args);
        await restore.restored();
        await assertSameMemory(qemu, readMemory(saved.bytes).blocks);
      },
    );
  }

  for (const [what, difference, complaint] of MISFITS) {
    testUnless(
      skip,
      `restore changes nothing at a QEMU ${what}, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const qemu = await saved.waiting(difference);
        const before = [await qemu.runState(), await settingsOf(qemu), await queryMigrate(qemu)];
        await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
        assertMatch(await restore.failed(6), complaint);
        const after = [await qemu.runState(), await settingsOf(qemu), await queryMigrate(qemu)];
        assertEquals(after, before);
        assertEquals(privateSockets(qemu), []);
        saved.assertUntouched();
        assertEquals(saved.marks, []);
      },
    );
  }

  testUnless(
    skip,
    `restore changes nothing at a QEMU that waits at an address without what it needs, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      const qemu = await saved.waiting({ incoming: false, args: ["-incoming", "tcp:127.0.0.1:0"] });
      const before = await settingsOf(qemu);
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
      const complaint = await restore.failed(6);
      assertMatch(complaint, /QEMU listens already, at tcp:127\.0\.0\.1:\d+, .*postcopy-ram on/);
      assertStringIncludes(complaint, "-incoming defer");
      assertEquals(await settingsOf(qemu), before);
    },
  );

  testUnless(
    skip,
    `restore takes a QEMU that listens already with all that it needs, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const args = ["postcopy-ram", "postcopy-preempt"]
        .flatMap((capability) => ["-global", `migration.x-${capability}=on`]);
      const incoming = ["-incoming", "tcp:127.0.0.1:0"];
      const qemu = await saved.waiting({ incoming: false, args: [...args, ...incoming] });
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
      await restore.restored();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `restore puts everything back when QEMU cannot listen, and then restores, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      const before = await settingsOf(qemu);
      const nowhere = ["--listen-uri", "unix:/nowhere/at/all"];
      await using refused = new RestoreProcess(saved.path, qmpOf(qemu), ...nowhere);
      const complaint = await refused.failed(6);
      assertMatch(complaint, /QEMU refuses migrate-incoming: .* as it was there/);
      assertEquals(await settingsOf(qemu), before);
      assertEquals(saved.marks, []);
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
      // A later one can be told to listen once only.
      if ((await queryMigrate(qemu)).status !== "setup") {
        await restore.restored();
        return await saved.countsOn(qemu);
      }
      assertStringIncludes(complaint, "end it (quit), and start it again");
      assertMatch(
        await restore.failed(6),
        /was told to listen before, and does not.*start it again/,
      );
      assertEquals(await settingsOf(qemu), before);
    },
  );

  testUnless(
    skip,
    `restore says why QEMU could not load the machine, as far as that says it, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      const qemu = await saved.waiting({ args: ["-device", "virtio-rng-pci"] });
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
      const complaint = await restore.failed(1);
      // One that ends has its reason in its log alone: before 9.1, and 10.0 although it is told not to (seen).
      const says = ["QEMU has ended", "QEMU says: failed: "];
      const expected = qemu.atLeast(11, 0)
        ? says.slice(1)
        : qemu.atLeast(9, 1)
        ? says
        : says.slice(0, 1);
      assert(expected.some((text) => complaint.includes(text)), complaint);
      assertEquals(privateSockets(qemu), []);
      assertEquals(saved.marks, []);
      saved.assertUntouched();
    },
  );

  testUnless(
    skip,
    `restore refuses a guest that may run already, and restores it with --start-anew, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const first = await saved.waiting();
      const slow = ["--max-postcopy-bandwidth", "1", "--mode", "preempt"];
      await using killed = new RestoreProcess(saved.path, qmpOf(first), ...slow);
      await first.waitUntilRunning();
      killed.kill("SIGKILL");
      await killed.ended;
      assertEquals(saved.marks.length, 1);
      await first.close();
      const qemu = await saved.waiting();
      const before = await settingsOf(qemu);
      await using refused = new RestoreProcess(saved.path, qmpOf(qemu));
      assertMatch(await refused.failed(5), /Guest of this image may run already: .*--start-anew/s);
      assertEquals(await settingsOf(qemu), before);
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu), "--start-anew");
      await restore.restored();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    firstOf(skip, needsHugePages(QEMU_HUGE_PAGES)),
    `restore sees by itself which blocks QEMU has in huge pages, with ${name}`,
    async () => {
      using _granted = new GrantedHugePages(QEMU_HUGE_PAGES);
      await using saved = await SavedGuest.capture({ binary, tick: 64, args: PLAIN_ARGUMENTS });
      const qemu = await saved.waiting({ args: HUGE_ARGUMENTS });
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu));
      await restore.restored();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    firstOf(skip, await needsVersion(binary, 10, 1, "postcopy behind multifd")),
    `restore switches to postcopy behind multifd, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      const args = ["--multifd-channels", "2", "--postcopy-after", "0.001"];
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...args);
      await restore.restored();
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    },
  );
}
