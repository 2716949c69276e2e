/**
 * The harness against real QEMU: without our source, so that a failure here is not the project's.
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { pageValue } from "../../qemu/boot_sector.ts";
import { captureGuest, checkRounds, startGuest, waitForRound } from "../../qemu/guest.ts";
import { capture, restorePrecopy } from "../../qemu/capture.ts";
import { liveMigrate } from "../../qemu/live_migrate.ts";
import { Qemu, SharedDirectory } from "../../qemu/qemu.ts";
import { QmpClient, QmpError } from "../../qemu/qmp_client.ts";
import { testUnless } from "../support/skip.ts";
import { testedQemus } from "./qemus.ts";

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(skip, `Qemu reports a machine that does not exist, with ${name}`, async () => {
    const error = await assertRejects(() => Qemu.start({ binary, machine: "none-such" }));
    assertStringIncludes(String(error), "machine type");
  });

  testUnless(skip, `Qemu can be closed twice, with ${name}`, async () => {
    const qemu = await Qemu.start({ binary, stopped: true });
    await assertRejects(() => qemu.execute("no-such-command"), QmpError);
    await qemu.close();
    await qemu.close();
    await assertRejects(() => qemu.execute("query-status"), QmpError, "QEMU closed");
  });

  testUnless(skip, `QmpClient speaks over a unix socket, with ${name}`, async () => {
    using directory = new SharedDirectory(binary.root);
    const args = ["-qmp", `unix:${directory.theirs("qmp")},server=on,wait=off`];
    await using qemu = await Qemu.start({ binary, stopped: true, args });
    await using client = await QmpClient.connect({
      transport: "unix",
      path: directory.ours("qmp"),
    });
    assertEquals(await client.version, qemu.version);
    const event = client.waitForEvent("RESUME");
    await qemu.resume();
    assert((await event).timestamp > 0);
  });

  testUnless(skip, `capture writes a stream that counts on in ${name}`, async () => {
    const directory = await Deno.makeTempDir();
    try {
      const guest = await captureGuest(`${directory}/guest`, { binary, tick: 64 });
      const qemu = await startGuest({ ...guest.machine, incoming: true });
      try {
        await restorePrecopy(qemu, guest.path);
        await qemu.resume();
        await waitForRound(qemu, guest.rounds + 3);
      } finally {
        await qemu.close();
      }
      assert(checkRounds(guest.output + qemu.serial.text) >= guest.rounds + 3);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  testUnless(
    skip,
    `the guest finds a byte that was changed in its image, with ${name}`,
    async () => {
      const directory = await Deno.makeTempDir();
      try {
        const guest = await captureGuest(`${directory}/guest`, { binary, access: "read" });
        const page = 1234;
        await changePage(guest.path, page);
        await using qemu = await startGuest({ ...guest.machine, incoming: true });
        await restorePrecopy(qemu, guest.path);
        await qemu.resume();
        const { text } = await qemu.serial.waitForLine("a report", (line) => /BAD/.test(line));
        assertStringIncludes(text, `BAD page ${page.toString(16).toUpperCase().padStart(8, "0")}`);
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    },
  );

  testUnless(skip, `capture of a running guest holds pages twice, with ${name}`, async () => {
    const directory = await Deno.makeTempDir();
    try {
      const guest = await captureGuest(`${directory}/guest`, { binary }, { livePasses: 2 });
      const { size } = await Deno.stat(guest.path);
      assert(size > 1.5 * 16 * (1 << 20), `Capture has only ${size} bytes`);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  testUnless(skip, `capture writes a mapped-ram file or says why not, with ${name}`, async () => {
    const directory = await Deno.makeTempDir();
    try {
      const path = `${directory}/guest`;
      await using qemu = await startGuest({ binary });
      await waitForRound(qemu, 1);
      if (qemu.atLeast(9, 0)) {
        await capture(qemu, path, { format: "mapped-ram" });
        assert((await Deno.stat(path)).size > 64 * (1 << 20));
      } else {
        const captured = capture(qemu, path, { format: "mapped-ram" });
        await assertRejects(() => captured, QmpError, "mapped-ram");
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  for (const preempt of [true, false]) {
    const mode = preempt ? "with a preempt channel" : "on one channel";
    testUnless(skip, `liveMigrate moves a running guest ${mode}, with ${name}`, async () => {
      const source = await startGuest({ binary });
      const destination = await startGuest({ binary, incoming: true });
      try {
        await waitForRound(source, 2);
        const stats = await liveMigrate(source, destination, {
          preempt,
          maxBandwidth: 4 << 20,
        });
        await waitForRound(destination, 4);
        assertEquals(stats.source.status, "completed");
        assert(stats.destination.resumed < stats.destination.total);
        assertEquals(stats.destination.latency !== undefined, destination.atLeast(10, 1));
      } finally {
        // What the guest finds is not looked at: under TCG a QEMU source now and then loses what its
        // guest writes while it is copied.
        await source.close();
        await destination.close();
      }
    });
  }

  testUnless(skip, `restorePrecopy fails on a file that is no stream, with ${name}`, async () => {
    const path = await Deno.makeTempFile();
    try {
      await Deno.writeFile(path, new Uint8Array(64));
      await using qemu = await startGuest({ binary, incoming: true });
      await assertRejects(() => restorePrecopy(qemu, path));
    } finally {
      await Deno.remove(path);
    }
  });
}

/** Changes a byte of the page that holds this page of the guest's working set. */
async function changePage(path: string, page: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  const words = new DataView(bytes.buffer);
  const value = pageValue(page, 1);
  for (let at = 0; at + 4096 <= bytes.length; at++) {
    if (words.getUint32(at, true) !== value || words.getUint32(at + 4092, true) !== value) continue;
    bytes[at + 2000]! ^= 1;
    await Deno.writeFile(path, bytes);
    return;
  }
  throw new Error(`Page is not in the capture: ${page}`);
}
