/** What stock QEMU writes in other ways than usual: saved, received, run again, or refused in time. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { parseRoundLine } from "../../qemu/boot_sector.ts";
import { capture } from "../../qemu/capture.ts";
import { checkRounds, type GuestMachine, startGuest, waitForRound } from "../../qemu/guest.ts";
import { listenForMigration, setCapabilities, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { withDirectory } from "../image/captures.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

const SUPPRESSED = "q35,suppress-vmdesc=on";
/** Rounds that a guest must add once it runs again: it has then seen all of its memory. */
const ROUNDS_AFTER = 3;

/** Serves an image into a new QEMU, and sees the guest there count on. */
async function countsOn(path: string, machine: GuestMachine): Promise<void> {
  await using qemu = await startGuest({ ...machine, incoming: true });
  await setCapabilities(qemu, PREEMPT);
  const uri = `tcp:127.0.0.1:${await listenForMigration(qemu)}`;
  const { code, stderr } = await serve(path, uri);
  assertEquals(code, 0, stderr);
  await waitForMigration(qemu, ["completed"]);
  await assertCounts(qemu);
}

/** Sees a guest finish some rounds, one after the other, and find its memory right. */
async function assertCounts(qemu: Qemu): Promise<void> {
  const rounds = () =>
    qemu.serial.text.split("\n").slice(1, -1).map((line) => parseRoundLine(line));
  await qemu.serial.waitForLine("some rounds", () => rounds().length >= ROUNDS_AFTER);
  const numbers = rounds().map((parsed) => parsed?.round);
  const first = numbers[0];
  assert(first !== undefined, qemu.serial.text);
  assertEquals(numbers, numbers.map((_, index) => first + index));
}

/** A running guest, and a receiver that it is to go to. */
async function departs(
  machine: GuestMachine,
  capabilities: Capabilities,
  test: (qemu: Qemu, receiver: ImageReceiver, path: string, since: number) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await using qemu = await startGuest(machine);
    await using receiver = new ImageReceiver({ path });
    const { port } = await receiver.listen(LOOPBACK) as { port: number };
    await waitForRound(qemu, 2);
    // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
    if (machine.machine === SUPPRESSED) await qemu.stop();
    await setCapabilities(qemu, capabilities);
    receiver.finished.catch(() => {});
    const since = qemu.qmp.events.items.length;
    await qemu.execute("migrate", { uri: `tcp:127.0.0.1:${port}` });
    await test(qemu, receiver, path, since);
  });
}

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(
    skip,
    `openImage opens a padded background-snapshot, and serve runs it again, with ${name}`,
    async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const machine = { binary, tick: 64 };
        await using qemu = await startGuest(machine);
        await waitForRound(qemu, 2);
        await capture(qemu, path, { capabilities: { "background-snapshot": true } });
        await qemu.close();
        await Deno.truncate(path, Deno.statSync(path).size + 100_000);
        {
          using image = await openImage(path);
          assertEquals(image.counts!.map(({ missing }) => missing), image.blocks.map(() => 0));
          assert(image.description !== undefined && image.deviceSections.length > 20);
        }
        await countsOn(path, machine);
      });
    },
  );

  testUnless(
    skip,
    `openImage opens a save without a description on a used volume, and serve runs it again, with ${name}`,
    async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const machine = { binary, machine: SUPPRESSED, tick: 64 };
        await using qemu = await startGuest(machine);
        await waitForRound(qemu, 2);
        await capture(qemu, path);
        await qemu.close();
        await Deno.writeFile(path, new Random(51).bytes(50_000), { append: true });
        {
          using image = await openImage(path);
          assert(image.description === undefined && image.deviceSections.length > 20);
        }
        await countsOn(path, machine);
      });
    },
  );

  for (const capability of ["return-path", "postcopy-ram"]) {
    testUnless(
      skip,
      `ImageReceiver takes a guest that describes nothing with ${capability} on, and serve runs it again, with ${name}`,
      async () => {
        const machine = { binary, machine: SUPPRESSED, tick: 64 };
        await departs(machine, { [capability]: true }, async (qemu, receiver, path, since) => {
          await within("the image", receiver.finished);
          await waitForMigration(qemu, ["completed"], { since });
          await qemu.close();
          await countsOn(path, machine);
        });
      },
    );
  }

  const refused: readonly (readonly [string, Capabilities, RegExp])[] = [
    ["dirty-bitmaps", { "dirty-bitmaps": true }, /the capability dirty-bitmaps o/],
    ["dirty-bitmaps and postcopy", { "dirty-bitmaps": true, ...PREEMPT }, /: dirty-bitmap: turn /],
    ["multifd", { multifd: true }, /./], // the connections that it is refused may be the first to tell
  ];
  for (const [what, capabilities, told] of refused) {
    testUnless(
      skip,
      `ImageReceiver refuses a source with ${what}, whose guest runs on there, with ${name}`,
      async () => {
        const all = { "return-path": true, ...capabilities };
        await departs({ binary }, all, async (qemu, receiver, path, since) => {
          const refusal = receiver.finished.then(
            () => new Error("confirmed"),
            (error: Error) => error,
          );
          const gaveUp = waitForMigration(qemu, ["failed"], { since }).then(() => undefined);
          // A QEMU whose further connections are refused may give up before its main channel has spoken.
          const first = what === "multifd" ? Promise.race([refusal, gaveUp]) : refusal;
          const refused = await within("the refusal", first);
          if (refused !== undefined) {
            assertMatch(refused.message, told);
            assertMatch(
              refused.message,
              /no image was made, and the guest is unharmed at the source/,
            );
          }
          await receiver.close();
          await gaveUp;
          assertEquals([...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))], []);
          await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
        });
      },
    );
  }
}
