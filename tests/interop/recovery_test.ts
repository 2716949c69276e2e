/** Migrations of real QEMU guests whose connections break after the guest ran: they go on. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import type { GuestMachine } from "../../qemu/guest.ts";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import { freePort } from "../support/free_port.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay, type Relayed } from "../support/fault_relay.ts";
import { testUnless } from "../support/skip.ts";
import { ServeProcess } from "../support/processes.ts";
import { StatusLog } from "../support/status_log.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest, VANILLA, type WaitingQemu } from "./saved_guest.ts";

/** Bytes a second: the guest needs longer than a test takes to break its connection. */
const SLOW = 1 << 20;
/** MiB that the guest uses: what it asks for before the last break, and little more. */
const WORKING_SET = 8;
/** Bytes of a channel after which it breaks: some pages have come by then, the last not whole. */
const SOME_BYTES = 400_123;

/** Has a paused QEMU listen again, and connections sent there. */
async function listenAgain({ qemu }: WaitingQemu, relay: FaultRelay): Promise<void> {
  await waitForMigration(qemu, ["postcopy-paused"]);
  const port = freePort();
  await listenForRecovery(qemu, port);
  relay.redirect({ transport: "tcp", host: "127.0.0.1", port });
}

/** How connections break; those of a link: the main channel, and the preempt channel where there is one. */
type Break = (main: Relayed, preempt: Relayed | undefined, relay: FaultRelay) => Promise<void>;

const both: Break = async (main, preempt, relay) => {
  const first = preempt ?? main;
  first.cutAt(SOME_BYTES);
  await first.over();
  relay.cut();
};

const mainAlone: Break = async (main, preempt) => {
  await preempt!.hasPassed(SOME_BYTES);
  main.cut();
};

const preemptAlone: Break = async (_, preempt) => {
  preempt!.cutAt(SOME_BYTES);
  await preempt!.over();
};

/** The main channel of two, of which the other is idle. */
const besideIdle: Break = async (main, _, relay) => {
  await main.hasPassed(SOME_BYTES);
  relay.cut();
};

for (const { name, binary, skip } of await testedQemus()) {
  const recovers = (
    what: string,
    mode: Mode,
    broken: Break,
    times = 1,
    capabilities = mode === "vanilla" ? VANILLA : PREEMPT,
    machine: GuestMachine = {},
  ) =>
    testUnless(
      skip,
      `Source in mode ${mode} goes on after ${what}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using saved = await SavedGuest.capture({
          binary,
          workingSetMiB: WORKING_SET,
          ...machine,
        });
        using image = await openImage(saved.path);
        const waiting = await saved.destination(capabilities);
        await using relay = await FaultRelay.start(waiting.address);
        const log = new StatusLog();
        await using source = new Source(image, {
          to: relay.address,
          mode,
          // What the guest does not ask for is left when it is seen to run, however late that is.
          maxPostcopyBandwidth: broken === besideIdle ? SLOW / 8 : SLOW,
          onStatus: log.add,
        });
        const run = source.run();
        run.catch(() => {});
        for (let time = 1; time <= times; time++) {
          const connections = capabilities === VANILLA ? 1 : 2;
          const before = (time - 1) * connections;
          await within("the connections", relay.came(before + connections));
          const [main, preempt] = relay.connections.slice(before);
          // The second channel comes before the guest is loaded. Nothing may be held back meanwhile: a
          // QEMU that waits for a page says nothing.
          if (preempt === undefined || broken === besideIdle) await waiting.qemu.waitUntilRunning();
          await within("the break", broken(main!, preempt, relay));
          // A source that fails instead never pauses.
          const paused = Promise.race([log.reached("postcopy-paused", time), run]);
          await within("the source's pause", paused);
          await within("the destination's pause", listenAgain(waiting, relay));
        }
        await within("the source to go on", log.reached("postcopy-active", times + 1));
        source.setMaxPostcopyBandwidth(0);
        const { status } = await within("the source to complete", run, 120_000);
        assertEquals(status, "completed");
        await waitForMigration(waiting.qemu, ["completed"]);
        await saved.countsOn(waiting.qemu);
      }),
    );

  for (const mode of MODES) recovers("both connections broke", mode, both);
  recovers("the main connection broke", "preempt-full", mainAlone);
  recovers("the preempt connection broke", "preempt-full", preemptAlone);
  recovers("three breaks", "preempt-full", both, 3);
  const idle = "breaks of a destination that wants a second channel";
  recovers(idle, "vanilla", besideIdle, 2, PREEMPT);
  const unversioned = "a break, with a machine type that has no version";
  recovers(unversioned, "preempt-full", both, 1, PREEMPT, { machine: "isapc", disk: "ide" });

  testUnless(
    skip,
    `serve --recover goes on for a serve that was killed, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary });
      const { qemu, uri } = await saved.destination(PREEMPT);
      const slow = ["--max-postcopy-bandwidth", "1", "--mode", "preempt"]; // not done before it dies
      await using first = new ServeProcess(saved.path, uri, slow);
      await qemu.waitUntilRunning();
      first.kill("SIGKILL");
      await waitForMigration(qemu, ["postcopy-paused"]);
      const port = freePort();
      // A QEMU 7.2 that is paused would die of what another start sends to its port, the first or the next.
      for (const to of [uri, `tcp:127.0.0.1:${port}`]) {
        await using again = new ServeProcess(saved.path, to);
        const { code, errors } = await within("serve to be refused", again.ended);
        assertEquals(code, 5, errors);
        assertStringIncludes(errors, `--to ${to} --json --recover\n`);
        await waitForMigration(qemu, ["postcopy-paused"]);
      }
      await using second = new ServeProcess(saved.path, `tcp:127.0.0.1:${port}`, ["--recover"]);
      assertEquals(await second.says(`migrate_recover tcp:127.0.0.1:${port}`), true);
      await listenForRecovery(qemu, port);
      const { status } = await second.statistics();
      assertEquals(status, "completed");
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      saved.assertUntouched();
      assertEquals(saved.marks, []);
    },
  );
}
