/** Guests restored into real QEMUs over TLS, by our source. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { openImage } from "../../image/open_image.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { readMemory } from "../image/reference.ts";
import type { GuestMachine } from "../../qemu/guest.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { Wire } from "../support/wire.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { certificatesShared, keysShared, KINDS } from "./qemu_credentials.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "./saved_guest.ts";
import { assertEveryPageSentOnce } from "./serve_process.ts";

/** Those with other rules for the preempt channel than the newest. */
const MACHINES: readonly GuestMachine[] = [
  { machine: "pc-q35-7.2" },
  { machine: "isapc", disk: "ide" },
];

for (const { name, binary, skip } of await testedQemus()) {
  for (const [kind, share] of Object.entries(KINDS)) {
    for (const mode of MODES) {
      testUnless(
        firstOf(skip, needsOpenssl()),
        `Source in mode ${mode} lets a guest count on over TLS with ${kind}, with ${name}`,
        leavingNoDescriptors(async () => {
          await using shared = await share();
          await using saved = await SavedGuest.capture({ binary, tick: 64 });
          const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
          const waiting = await saved.destination(capabilities, {}, shared.give);
          using image = await openImage(saved.path);
          const notes: string[] = [];
          await using source = new Source(image, {
            to: waiting.address,
            mode,
            tls: shared.tls,
            onNote: (text) => void notes.push(text),
          });
          const statistics = await within("the source to complete", source.run());
          assertEquals(notes.length, 1, notes.join("\n"));
          assertMatch(notes[0]!, shared.note);
          await waitForMigration(waiting.qemu, ["completed"]);
          assertEveryPageSentOnce(statistics, image);
          await saved.countsOn(waiting.qemu);
          saved.assertUntouched();
        }),
      );
    }
  }

  const test = (title: string, body: () => Promise<void>) =>
    testUnless(firstOf(skip, needsOpenssl()), `${title}, with ${name}`, leavingNoDescriptors(body));

  for (const machine of MACHINES) {
    test(`Source serves over TLS a guest on ${machine.machine}`, async () => {
      await using shared = await certificatesShared();
      await using saved = await SavedGuest.capture({ binary, ...machine });
      const { qemu, address } = await saved.destination(PREEMPT, {}, shared.give);
      using image = await openImage(saved.path);
      await using source = new Source(image, { to: address, tls: shared.tls });
      await within("the source to complete", source.run());
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    });
  }

  test("Source in mode vanilla serves over TLS a QEMU that waits for a second channel", async () => {
    await using shared = await keysShared();
    await using saved = await SavedGuest.capture({ binary });
    const { qemu, address } = await saved.destination(PREEMPT, {}, shared.give);
    using image = await openImage(saved.path);
    const { tls } = shared;
    await using source = new Source(image, { to: address, mode: "vanilla", tls });
    await within("the source to complete", source.run());
    await waitForMigration(qemu, ["completed"]);
    await saved.countsOn(qemu);
  });

  test("Source over TLS shows nobody on the way a byte of the guest", async () => {
    await using shared = await keysShared();
    await using saved = await SavedGuest.capture({ binary });
    const patterns = patternsOf(saved.bytes);
    for (const tls of [undefined, shared.tls]) {
      const give = tls === undefined ? undefined : shared.give;
      const { qemu, address } = await saved.destination(PREEMPT, {}, give);
      const wire = new Wire();
      await using relay = await FaultRelay.start(address, wire.tap);
      using image = await openImage(saved.path);
      await using source = new Source(image, {
        to: relay.address,
        ...tls === undefined ? {} : { tls },
      });
      await within("the source to complete", source.run());
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
      assertEquals(wire.seen(patterns), tls === undefined ? patterns : []);
    }
  });
}

/** What is looked for on the wire: pieces of pages, and what the stream begins with. */
function patternsOf(saved: Uint8Array<ArrayBuffer>): string[] {
  const patterns = ["QEVM", "pc.ram"];
  for (const data of readMemory(saved).blocks.values()) {
    for (let at = 0; at < data.length && patterns.length < 200; at += 4096) {
      const piece = data.subarray(at + 100, at + 132);
      if (new Set(piece).size > 8) patterns.push(Buffer.from(piece).toString("latin1"));
    }
  }
  assertEquals(patterns.length > 50, true, `${patterns.length} patterns`);
  return patterns;
}
