/** Restores whose connections break, or whose user ends them: nobody types anything at the QEMU. */
import "../../support/native.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseSocketAddress } from "../../../ffi/socket_address.ts";
import {
  listenForMigration,
  queryMigrate,
  setCapabilities,
  waitForMigration,
} from "../../../qemu/migration.ts";
import type { Qemu } from "../../../qemu/qemu.ts";
import { testedQemus } from "../../interop/qemus.ts";
import { PREEMPT, SavedGuest } from "../../interop/saved_guest.ts";
import { within } from "../../support/deadline.ts";
import { FaultRelay } from "../../support/fault_relay.ts";
import { freePort } from "../../support/free_port.ts";
import { ServeProcess } from "../../support/processes.ts";
import { testUnless } from "../../support/skip.ts";
import { HalfRelay } from "./half_relay.ts";
import { withoutLastWord } from "./last_word.ts";
import { privateSockets, qmpOf, RestoreProcess } from "./monitored.ts";
import { GREETING, QmpPeer } from "./qmp_peer.ts";

/** MiB that the guest uses: what it asks for before the last break, and little more. */
const WORKING_SET = 8;
/** What the guest does not ask for takes some five seconds, in which it is busy. */
const SLOW = ["--max-postcopy-bandwidth", "128K"];
/** What it does not ask for never comes: however long a test takes to break a connection, it is not done. */
const STILL = ["--max-postcopy-bandwidth", "1", "--mode", "preempt"];

/** Breaks both channels at the destination, as QEMU's own command does. */
async function breakThere(qemu: Qemu): Promise<void> {
  await qemu.qmp.executeOutOfBand("migrate-pause");
}

/** Waits until restore has gone on so many times. */
async function goneOn(restore: RestoreProcess, times: number): Promise<void> {
  await within(
    `${times} recoveries`,
    (async () => {
      const count = () => restore.errorLines.filter((line) => line.startsWith("Going on: ")).length;
      while (count() < times) {
        if (restore.over) throw new Error((await restore.ended).errors);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })(),
  );
}

/** Lets the rest come, by another restore, and sees that the guest is whole. */
async function finish(
  saved: SavedGuest,
  qemu: Qemu,
  restore: RestoreProcess,
  qmp = qmpOf(qemu),
): Promise<void> {
  restore.kill("SIGKILL");
  await restore.ended;
  await waitForMigration(qemu, ["postcopy-paused"]);
  const elsewhere = ["--listen-uri", "tcp:127.0.0.1:0"];
  await using last = new RestoreProcess(saved.path, qmp, "--recover", ...elsewhere);
  const { destination } = await last.restored();
  assertEquals(destination?.status, "completed");
  await saved.countsOn(qemu);
  assertEquals(saved.marks, []);
}

for (const { name, binary, skip } of await testedQemus()) {
  const machine = { binary, tick: 64, workingSetMiB: WORKING_SET };

  for (
    const [where, args] of [
      ["a private socket", []],
      ["a port that was said", ["--listen-uri", "tcp:127.0.0.1:PORT"]],
      ["a port that QEMU chose", ["--listen-uri", "tcp:127.0.0.1:0"]],
    ] as const
  ) {
    testUnless(
      skip,
      `restore goes on by itself after three breaks at ${where}, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture(machine);
        const qemu = await saved.waiting();
        const port = String(freePort());
        const said = args.map((word) => word.replace("PORT", port));
        await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...STILL, ...said);
        await qemu.waitUntilRunning();
        for (let times = 1; times <= 3; times++) {
          await waitForMigration(qemu, ["postcopy-active"]);
          await breakThere(qemu);
          await goneOn(restore, times);
        }
        const errors = restore.errorLines.join("\n");
        assertStringIncludes(errors, "Having QEMU listen again, by its monitor at unix:");
        assert(!errors.includes("(qemu)"), errors);
        assert(!errors.includes("could not be told"), errors);
        await finish(saved, qemu, restore);
      },
    );
  }

  testUnless(skip, `restore completes after a break by itself, with ${name}`, async () => {
    await using saved = await SavedGuest.capture(machine);
    const qemu = await saved.waiting();
    await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...SLOW);
    await qemu.waitUntilRunning();
    await waitForMigration(qemu, ["postcopy-active"]);
    await breakThere(qemu);
    const { destination } = await restore.restored();
    assertEquals(destination?.status, "completed");
    assertStringIncludes((await restore.ended).errors, "\nGoing on: ");
    assertEquals(privateSockets(qemu), []);
    await saved.countsOn(qemu);
    assertEquals(saved.marks, []);
  });

  testUnless(
    skip,
    `restore goes on when the connection broke and QEMU has not noticed, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture(machine);
      const qemu = await saved.waiting();
      const port = freePort();
      await using relay = new HalfRelay(port);
      const listen = ["--listen-uri", `tcp:127.0.0.1:${port}`, "--to", relay.uri];
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...STILL, ...listen);
      await qemu.waitUntilRunning();
      await waitForMigration(qemu, ["postcopy-active"]);
      relay.drop();
      await goneOn(restore, 1);
      await finish(saved, qemu, restore);
    },
  );

  testUnless(
    skip,
    `restore is done when QEMU has everything and its last word was lost, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture(machine);
      const qemu = await saved.waiting();
      const port = freePort();
      // It has said that it has everything, and so it has: the connection breaks before that arrives.
      await using relay = new HalfRelay(port, () => withoutLastWord(() => relay.drop()));
      const listen = ["--listen-uri", `tcp:127.0.0.1:${port}`, "--to", relay.uri];
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...listen);
      const restored = await restore.restored();
      assertEquals(restored.status, "completed");
      assertEquals(restored.destination?.status, "completed");
      const events = restored["destination-events"]!.map(({ event }) => event);
      assertEquals(events.filter((event) => event === "RESUME"), ["RESUME"]);
      const { errors } = await restore.ended;
      assertMatch(errors, /^Paused: .*\nEvery page was sent: it may have them all\n/m);
      assertMatch(errors, /^QEMU says: completed, /m);
      assert(!errors.includes("could not be told"), errors);
      assertEquals(await qemu.runState(), "running");
      await saved.countsOn(qemu);
      saved.assertUntouched();
      assertEquals(saved.marks, []);
    },
  );

  testUnless(
    skip,
    `restore connects to the monitor again when that broke too, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture(machine);
      const qemu = await saved.waiting();
      await using monitor = await FaultRelay.start(parseSocketAddress(qmpOf(qemu)));
      const args = [...STILL, "--listen-uri", "tcp:127.0.0.1:0"];
      await using restore = new RestoreProcess(saved.path, monitor.uri, ...args);
      await qemu.waitUntilRunning();
      await waitForMigration(qemu, ["postcopy-active"]);
      monitor.cut();
      await breakThere(qemu);
      await goneOn(restore, 1);
      assertEquals(monitor.connections.length, 2);
      await finish(saved, qemu, restore, monitor.uri); // by which the guest is known
    },
  );

  testUnless(
    skip,
    `restore says what to type where the monitor is gone, and goes on where QEMU listens, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture(machine);
      const qemu = await saved.waiting();
      const monitor = await FaultRelay.start(parseSocketAddress(qmpOf(qemu)));
      await using stack = new AsyncDisposableStack();
      stack.use(monitor);
      const port = freePort();
      const args = [...SLOW, "--listen-uri", `tcp:127.0.0.1:${port}`];
      await using restore = new RestoreProcess(saved.path, monitor.uri, ...args);
      await qemu.waitUntilRunning();
      await waitForMigration(qemu, ["postcopy-active"]);
      await stack.disposeAsync();
      const since = qemu.qmp.events.items.length;
      await breakThere(qemu);
      await waitForMigration(qemu, ["postcopy-paused"], { since });
      const words =
        `{"exec-oob":"migrate-recover","arguments":{"uri":"tcp:127.0.0.1:${port}"},"id":1}`;
      assertEquals(await restore.says(words), true);
      // Both versions still listen where they did first.
      await goneOn(restore, 1);
      const { destination } = await restore.restored();
      assertEquals(destination, undefined);
      assertMatch((await restore.ended).errors, /QEMU could not be asked how it went there: /);
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `restore --recover goes on for a restore that was killed, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      await using first = new RestoreProcess(saved.path, qmpOf(qemu), ...STILL);
      await qemu.waitUntilRunning();
      first.kill("SIGKILL");
      await first.ended;
      await waitForMigration(qemu, ["postcopy-paused"]);
      await using refused = new RestoreProcess(saved.path, qmpOf(qemu));
      assertMatch(await refused.failed(6), /postcopy-paused: .*the same command with --recover/);
      await using second = new RestoreProcess(saved.path, qmpOf(qemu), "--recover");
      await second.restored();
      await saved.countsOn(qemu);
      saved.assertUntouched();
      assertEquals(saved.marks, []);
    },
  );

  testUnless(
    skip,
    `restore --recover breaks no connection that another serves, and goes on once that is gone, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      await setCapabilities(qemu, PREEMPT);
      const to = `tcp:127.0.0.1:${await listenForMigration(qemu)}`;
      await using serve = new ServeProcess(saved.path, to, STILL);
      await qemu.waitUntilRunning();
      await waitForMigration(qemu, ["postcopy-active"]);
      const since = qemu.qmp.events.items.length;
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu), "--recover");
      assertEquals(await restore.says("QEMU believes that it is being served"), true);
      const states = qemu.qmp.events.items.slice(since).filter(({ name }) => name === "MIGRATION");
      assertEquals([states, serve.over], [[], false]);
      serve.kill("SIGKILL");
      await restore.restored();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `restore is ended by a second Ctrl-C alone once the guest runs, and says how it goes on, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      await using first = new RestoreProcess(saved.path, qmpOf(qemu), ...STILL);
      await qemu.waitUntilRunning();
      assertEquals(await first.says("QEMU: the guest runs"), true);
      first.kill("SIGINT");
      assertEquals(await first.says("Ctrl-C once more"), true);
      first.kill("SIGINT");
      const errors = await first.failed(130);
      assertMatch(errors, /To go on with the guest:\n {2}postcopy restore .* --recover\n/);
      await waitForMigration(qemu, ["postcopy-paused"]);
      await using second = new RestoreProcess(saved.path, qmpOf(qemu), "--recover");
      await second.restored();
      await saved.countsOn(qemu);
      assertEquals(saved.marks, []);
    },
  );

  testUnless(
    skip,
    `restore that is interrupted while QEMU listens goes on when it is called again, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const port = freePort();
      const listen = ["--listen-uri", `tcp:127.0.0.1:${port}`];
      const args = [...listen, "--to", `tcp:127.0.0.1:${silent.addr.port}`];
      await using first = new RestoreProcess(saved.path, qmpOf(qemu), ...args);
      using _connection = await within("restore to connect", silent.accept());
      first.kill("SIGINT");
      const errors = await first.failed(130);
      assertStringIncludes(errors, `QEMU still waits, at tcp:127.0.0.1:${port}: the same command`);
      assertEquals(await qemu.runState(), "inmigrate");
      await using second = new RestoreProcess(saved.path, qmpOf(qemu), ...listen);
      await second.restored();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `restore is not held by Ctrl-C at a private socket where QEMU still waits, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const qemu = await saved.waiting();
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const path = qemu.directory.theirs("guest");
      const to = `tcp:127.0.0.1:${silent.addr.port}`;
      const args = ["--listen-uri", `unix:${path}`, "--to", to];
      await using first = new RestoreProcess(saved.path, qmpOf(qemu), ...args);
      using _connection = await within("restore to connect", silent.accept());
      first.kill("SIGTERM");
      await first.failed(130);
      // Where QEMU listens is found by what it calls its monitor, also when its root is another.
      await using second = new RestoreProcess(saved.path, qmpOf(qemu));
      await second.restored();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `restore that is interrupted before QEMU was spoken to leaves it as it is, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      await using peer = new QmpPeer("");
      await using restore = new RestoreProcess(saved.path, peer.uri);
      await within("restore to connect", peer.came(1));
      restore.kill("SIGINT");
      assertMatch(await restore.failed(130), /Interrupted: the image is as it was\n$/);
      assertEquals(saved.marks, []);
    },
  );

  testUnless(
    skip,
    `restore gives up on a monitor that says nothing, or something else, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      for (
        const [greeting, code] of [["", 4], [GREETING, 4], ["SSH-2.0-OpenSSH_9.2\r\n", 4]] as const
      ) {
        await using peer = new QmpPeer(greeting);
        await using restore = new RestoreProcess(saved.path, peer.uri, "--stall-timeout", "0.2");
        const complaint = await restore.failed(code);
        assertMatch(complaint, /^postcopy: (Nothing|What) answers at unix:/);
      }
      saved.assertUntouched();
    },
  );

  testUnless(
    skip,
    `restore ends when QEMU dies before its guest ran, and the image is served again, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const dying = await saved.waiting();
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const to = ["--to", `tcp:127.0.0.1:${silent.addr.port}`];
      const args = ["--listen-uri", "tcp:127.0.0.1:0", ...to];
      await using first = new RestoreProcess(saved.path, qmpOf(dying), ...args);
      const connection = await within("restore to connect", silent.accept());
      await dying.close();
      connection.close();
      assertStringIncludes(await first.failed(1), "QEMU has ended");
      assertEquals(saved.marks, []);
      const qemu = await saved.waiting();
      await using second = new RestoreProcess(saved.path, qmpOf(qemu));
      await second.restored();
      assertEquals((await queryMigrate(qemu)).status, "completed");
      await saved.countsOn(qemu);
    },
  );
}
