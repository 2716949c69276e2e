/**
 * Guests saved from real QEMU, restored into stock QEMU by our source: as a command and as a module.
 */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { openImage } from "../../image/open_image.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { readMemory } from "../image/reference.ts";
import type { CaptureOptions } from "../../qemu/capture.ts";
import type { GuestMachine } from "../../qemu/guest.ts";
import { faultLatency } from "../../qemu/live_migrate.ts";
import { queryMigrate, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { assertSameMemory } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest, VANILLA } from "./saved_guest.ts";
import { assertEveryPageSentOnce, serve } from "./serve_process.ts";

/**
 * "q35" is the newest machine type; older ones have QEMU 7.2's rules for the preempt channel. The name of
 * "isapc" does not tell which it has.
 */
const MACHINES: readonly GuestMachine[] = [
  { machine: "q35" },
  { machine: "pc-q35-7.2" },
  { machine: "isapc", disk: "ide" },
];

function capabilitiesFor(mode: Mode): typeof PREEMPT {
  return mode === "vanilla" ? VANILLA : PREEMPT;
}

/** Restores a saved guest into a stopped QEMU by the module, and compares all memory. */
async function restoreAndCompare(saved: SavedGuest, mode: Mode): Promise<Qemu> {
  const { qemu, address } = await saved.destination(capabilitiesFor(mode), { stopped: true });
  using image = await openImage(saved.path);
  await using source = new Source(image, { to: address, mode });
  const statistics = await within("the source to complete", source.run());
  await waitForMigration(qemu, ["completed"]);
  assertEveryPageSentOnce(statistics, image);
  await assertSameMemory(qemu, readMemory(saved.bytes).blocks);
  saved.assertUntouched();
  return qemu;
}

async function resumes(saved: SavedGuest, qemu: Qemu): Promise<void> {
  await qemu.resume();
  await saved.countsOn(qemu);
}

/** Counts the pages of a capture that came encoded against what they were before. */
function countXbzrlePages(bytes: Uint8Array): number {
  let count = 0;
  const decoder = new StreamDecoder(
    new class extends IgnoreStream {
      override xbzrlePage(): void {
        count++;
      }
    }(),
  );
  decoder.feed(bytes);
  return count;
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const machine of MACHINES) {
    for (const mode of MODES) {
      testUnless(
        skip,
        `serve in mode ${mode} lets a guest on ${machine.machine} count on, with ${name}`,
        async () => {
          await using saved = await SavedGuest.capture({ binary, ...machine, tick: 64 });
          const { qemu, uri } = await saved.destination({
            ...capabilitiesFor(mode),
            "postcopy-blocktime": true,
          });
          const { code, stderr, statistics } = await serve(saved.path, uri, "--mode", mode);
          assertEquals(code, 0, stderr);
          await waitForMigration(qemu, ["completed"]);
          using image = await openImage(saved.path);
          assertEveryPageSentOnce(statistics, image);
          const latency = faultLatency(await queryMigrate(qemu));
          assertEquals(latency !== undefined, qemu.atLeast(10, 1));
          await saved.countsOn(qemu);
          saved.assertUntouched();
        },
      );
    }
  }

  testUnless(
    skip,
    `serve in mode vanilla lets a guest count on whose QEMU wants a preempt channel, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, tick: 64 });
      const { qemu, uri } = await saved.destination(PREEMPT);
      const { code, stderr } = await serve(saved.path, uri, "--mode", "vanilla");
      assertEquals(code, 0, stderr);
      assertMatch(stderr, /The destination has postcopy-preempt on/);
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    },
  );

  for (const mode of MODES) {
    testUnless(
      skip,
      `Source in mode ${mode} gives a stopped guest every byte of its image, with ${name}`,
      leavingNoDescriptors(async () => {
        await using saved = await SavedGuest.capture({ binary });
        await resumes(saved, await restoreAndCompare(saved, mode));
      }),
    );
  }

  const captures: [string, GuestMachine, CaptureOptions][] = [
    ["a guest saved while it ran", {}, { livePasses: 2 }],
    ["a guest saved with xbzrle", { bytesPerPage: 64 }, {
      livePasses: 3,
      capabilities: { xbzrle: true },
    }],
  ];
  for (const [what, machine, options] of captures) {
    testUnless(skip, `Source restores every byte of ${what}, with ${name}`, async () => {
      await using saved = await SavedGuest.capture({ binary, ...machine }, options);
      const encoded = countXbzrlePages(saved.bytes);
      assertEquals(encoded > 0, options.capabilities?.["xbzrle"] === true, `${encoded} encoded`);
      const qemu = await restoreAndCompare(saved, "preempt-full");
      // QEMU 7.2 without KVM misses writes of a guest that runs while it is saved: its own load of
      // such a file finds wrong pages too.
      if (qemu.atLeast(10, 0)) await resumes(saved, qemu);
    });
  }
}
