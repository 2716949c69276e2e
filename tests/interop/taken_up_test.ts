/** Guests of stock QEMU whose `receive` is killed in the switch to postcopy, or behind it. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { checkRounds, startGuest, waitForRound } from "../../qemu/guest.ts";
import {
  listenForMigration,
  queryMigrate,
  setCapabilities,
  setParameters,
  waitForMigration,
} from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { versionOf } from "../../qemu/qemu_binary.ts";
import { withDirectory } from "../image/captures.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { ReceiveProcess } from "../receive/receive_process.ts";
import { until, within } from "../support/deadline.ts";
import { skipReason, testUnless } from "../support/skip.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, VANILLA } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

/** Bytes a second: slow enough to be killed in the midst of it. */
const SLOW = 512 << 10;
/** Rounds that a guest must add once it runs again: it has then seen all of its memory. */
const ROUNDS_AFTER = 3;
/** How the package begins: COMMAND, PACKAGED, and its payload of four bytes. */
const PACKAGE = "0800070004";

async function statusOf(qemu: Qemu): Promise<string | undefined> {
  return (await queryMigrate(qemu)).status;
}

/** Begins a migration and switches in mid-flight. */
async function depart(qemu: Qemu, uri: string, capabilities: Capabilities): Promise<void> {
  await setCapabilities(qemu, capabilities);
  await setParameters(qemu, { "max-bandwidth": SLOW, "max-postcopy-bandwidth": SLOW });
  await qemu.execute("migrate", { uri });
}

/** Forwards a source to a receiver until the package begins, then kills the receiver with the connection. */
async function killAtPackage(qemu: Qemu, command: ReceiveProcess): Promise<void> {
  const to = await command.address();
  if (to.transport !== "tcp") throw new TypeError("Receiver listens at a unix socket");
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await depart(qemu, `tcp:127.0.0.1:${listener.addr.port}`, VANILLA);
  using source = await listener.accept();
  using receiver = await Deno.connect({ hostname: "127.0.0.1", port: to.port });
  const buffer = new Uint8Array(65536);
  let before = "";
  for (let total = 0, switched = false;;) {
    const count = await source.read(buffer);
    if (count === null) throw new Error("Source ended before the package");
    const text = before + buffer.subarray(0, count).toHex();
    if (switched && text.includes(PACKAGE)) break;
    before = text.slice(-2 * PACKAGE.length);
    total += count;
    for (let at = 0; at < count;) at += await receiver.write(buffer.subarray(at, count));
    if (total < SLOW || switched) continue;
    switched = true;
    await qemu.execute("migrate-start-postcopy");
  }
  await until("the switch", async () => await statusOf(qemu) === "postcopy-active");
  command.kill("SIGKILL");
  await within("the kill", command.ended);
}

for (const { name, binary, skip } of await testedQemus()) {
  const [major, minor] = skip === undefined ? await versionOf(binary) ?? [0, 0] : [0, 0];
  const waits = major > 10 || (major === 10 && minor >= 2);
  const older = waits ? skipReason("no support", "QEMU 10.2 and later keeps the guest") : skip;
  const machine = { binary, tick: 64 };

  testUnless(
    older,
    `receive --recover takes a guest whose receive was killed behind the switch, with ${name}`,
    () =>
      withDirectory(async (directory) => {
        const path = `${directory}/image`;
        await using qemu = await startGuest(machine);
        await waitForRound(qemu, 2);
        await qemu.stop();
        await using killed = new ReceiveProcess(["--image", path]);
        const { address } = await killed.event("listening");
        await depart(qemu, address, PREEMPT);
        await killed.event("progress", ({ normal }) => normal > 100);
        await qemu.execute("migrate-start-postcopy");
        await killed.event(
          "progress",
          ({ status, remaining }) => status === "postcopy-active" && remaining > 0,
        );
        killed.kill("SIGKILL");
        await within("the kill", killed.ended);
        await until("the pause", async () => await statusOf(qemu) === "postcopy-paused");

        await using command = new ReceiveProcess(["--recover", `${path}.partial-${killed.pid}`]);
        const { resume } = await command.event("paused");
        const since = qemu.qmp.events.items.length;
        await setParameters(qemu, { "max-postcopy-bandwidth": 0 });
        assertEquals(await qemu.monitor(resume), ""); // as it is advised
        const { status, pages, received, remaining, ...more } = await command.event("result");
        assertEquals([status, received, remaining], ["completed", pages, 0], JSON.stringify(more));
        await waitForMigration(qemu, ["completed"], { since });
        {
          using image = await openImage(path);
          assertImageMemory(image, await readRamBlocks(qemu));
        }

        await using restored = await startGuest({ ...machine, incoming: true });
        await setCapabilities(restored, PREEMPT);
        const to = `tcp:127.0.0.1:${await listenForMigration(restored)}`;
        const { code, stderr } = await serve(path, to);
        assertEquals(code, 0, stderr);
        await qemu.close();
        await waitForRound(restored, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
        await restored.close();
        checkRounds(qemu.serial.text + restored.serial.text);
      }),
  );

  testUnless(
    older,
    `receive --recover hands a guest back whose receive was killed in the switch, with ${name}`,
    () =>
      withDirectory(async (directory) => {
        const path = `${directory}/image`;
        await using qemu = await startGuest(machine);
        await waitForRound(qemu, 2);
        await using killed = new ReceiveProcess(["--image", path]);
        await killAtPackage(qemu, killed);
        await until("the pause", async () => await statusOf(qemu) === "postcopy-paused");
        assertMatch(await qemu.monitor("cont"), /Migration is not finalized yet/);

        await using command = new ReceiveProcess(["--recover", `${path}.partial-${killed.pid}`]);
        const { resume, remedy } = await command.event("paused");
        assertMatch(remedy, /hands the guest back, and then cont there lets it go on/);
        assertEquals(await qemu.monitor(resume), "");
        const { "error-desc": reason } = await command.event("result");
        assertMatch(reason!, /Guest was handed back.*the command cont there lets it go on/);
        await until("the end", async () => await statusOf(qemu) === "completed");
        assertEquals(await qemu.monitor("cont"), "");
        await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
        assertEquals([...Deno.readDirSync(directory)], []);
      }),
  );
}
