/** Destinations of real QEMU that die, or do not fit: the image stays as it was, and can be tried again. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  encodeDiscards,
  encodeGreeting,
  encodeOpening,
  encodeSwitchover,
  wholeDiscards,
} from "../../server/sending/control_stream.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import type { GuestMachine } from "../../qemu/guest.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { CutRelay } from "./cut_relay.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, SavedGuest, VANILLA } from "./saved_guest.ts";
import { assertEveryPageSentOnce, serve, type Served } from "./serve_process.ts";

/** Pages that the guest does not ask for never come: it is not done before the test is. */
const SLOW = ["--max-postcopy-bandwidth", "1"];
/** No waiting for a destination that will not come back. */
const ONCE = ["--recover-timeout", "0"];

/** Sees that `serve` failed as it should: with one line that says why, and not with a stack. */
function assertFailed({ code, stderr, statistics }: Served, reason: RegExp): void {
  assertEquals(code, 1, stderr);
  assertEquals(statistics.status, "failed");
  const [announcement, complaint, ...more] = stderr.trim().split("\n");
  assertMatch(announcement!, /^Serving /);
  assertMatch(complaint!, reason);
  assertEquals(more, []);
}

/** Sees that the image is as it was, by restoring it. */
async function assertServesAgain(saved: SavedGuest, ...options: string[]): Promise<void> {
  saved.assertUntouched();
  const { qemu, uri } = await saved.destination(PREEMPT);
  const { code, stderr } = await serve(saved.path, uri, ...options);
  assertEquals(code, 0, stderr);
  await saved.countsOn(qemu);
}

/** Bytes of the main channel up to the block list. */
function openingBytes(image: Image): number {
  return encodeGreeting(image.configuration).length + encodeOpening(image, []).length;
}

/** Bytes of the main channel before the device state. */
function beforePackage(image: Image): number {
  return openingBytes(image) + encodeDiscards(wholeDiscards(image.blocks), 0).length;
}

/** Moments before the guest runs, as bytes of the main channel that the destination gets. */
const MOMENTS: readonly [string, (image: Image) => number][] = [
  ["before the switchover", (image) => openingBytes(image) - 1],
  [
    "in the middle of the device state",
    (image) => beforePackage(image) + Math.floor(encodeSwitchover(image.deviceState).length / 2),
  ],
  [
    "when it has the device state and no page",
    (image) => beforePackage(image) + encodeSwitchover(image.deviceState).length,
  ],
];

/** Destinations that cannot take the guest. */
const MISFITS: readonly [string, Capabilities, GuestMachine, RegExp, ...string[]][] = [
  ["without the capability postcopy-ram", {}, {}, /postcopy-ram on/],
  [
    "without the capability postcopy-preempt",
    VANILLA,
    {},
    /^postcopy: Destination closed the preempt channel: postcopy-preempt is off there: turn it on/,
  ],
  ["of another machine type", PREEMPT, { machine: "pc" }, /has machine type pc-q35-/],
  ["with less memory", PREEMPT, { memoryMiB: 32 }, /the same memory and devices/],
  ["with more memory", PREEMPT, { memoryMiB: 128 }, /the same memory and devices/],
  [
    "with a device at another place",
    PREEMPT,
    { args: ["-device", "virtio-rng-pci"] },
    /the same memory and devices/,
  ],
];

for (const { name, binary, skip } of await testedQemus()) {
  for (const [moment, bytes] of MOMENTS) {
    testUnless(
      skip,
      `serve fails when QEMU dies ${moment}, and serves again, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const { qemu, address } = await saved.destination(PREEMPT);
        assert(address.transport === "tcp");
        using image = await openImage(saved.path);
        await using relay = new CutRelay(address.port, bytes(image));
        // The relay listens on, whatever became of QEMU.
        const served = serve(saved.path, relay.uri, ...ONCE);
        await within("the destination to have its bytes", relay.reached);
        await qemu.close();
        assertFailed(await served, /^postcopy: Destination went away: .*the machine did not start/);
        await assertServesAgain(saved);
      },
    );
  }

  for (const mode of MODES) {
    testUnless(
      skip,
      `serve in mode ${mode} fails when QEMU dies while its guest runs, and serves again, with ${name}`,
      async () => {
        await using saved = await SavedGuest.capture({ binary });
        const { qemu, uri } = await saved.destination(mode === "vanilla" ? VANILLA : PREEMPT);
        const served = serve(saved.path, uri, "--mode", mode, ...ONCE, ...SLOW);
        await qemu.waitUntilRunning();
        await qemu.close();
        assertFailed(await served, /^postcopy: Destination went away: /);
        // Nobody else knows that it is gone for good.
        await assertServesAgain(saved, "--start-anew");
      },
    );
  }

  for (const [what, capabilities, difference, reason, ...args] of MISFITS) {
    testUnless(skip, `serve says what is wrong with a QEMU ${what}, with ${name}`, async () => {
      await using saved = await SavedGuest.capture({ binary });
      const { uri } = await saved.destination(capabilities, difference);
      // A QEMU 11.1 whose devices fail to load sometimes stays, and takes nothing more.
      const served = await serve(saved.path, uri, "--stall-timeout", "5", ...args);
      assertFailed(served, reason);
      assertStringIncludes(served.stderr, "the machine did not start");
      saved.assertUntouched();
    });
  }

  testUnless(
    skip,
    `Source restores one image into several QEMUs at once, with ${name}`,
    leavingNoDescriptors(async () => {
      await using saved = await SavedGuest.capture({ binary });
      using image = await openImage(saved.path);
      await Promise.all((["preempt-full", "vanilla"] as const).map(async (mode) => {
        const { qemu, address } = await saved.destination(mode === "vanilla" ? VANILLA : PREEMPT);
        await using source = new Source(image, { to: address, mode });
        assertEveryPageSentOnce(await within("the source to complete", source.run()), image);
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      }));
    }),
  );

  testUnless(
    skip,
    `Source completes beside one whose QEMU dies, with ${name}`,
    leavingNoDescriptors(async () => {
      await using saved = await SavedGuest.capture({ binary });
      using image = await openImage(saved.path);
      const doomed = await saved.destination(PREEMPT);
      const lucky = await saved.destination(PREEMPT);
      // Not done before its QEMU dies, for the guest asks for a part of its memory alone.
      const never = { maxPostcopyBandwidth: 1, recoverTimeout: 0 };
      const later = { maxPostcopyBandwidth: 16 << 20 };
      await using failing = new Source(image, { to: doomed.address, ...never });
      await using completing = new Source(image, { to: lucky.address, ...later });
      const failed = failing.run().then(() => undefined, (error) => error);
      const completed = completing.run();
      completed.catch(() => {}); // whatever goes wrong before it is awaited is the news
      await Promise.all([doomed.qemu.waitUntilRunning(), lucky.qemu.waitUntilRunning()]);
      await doomed.qemu.close();
      assertMatch(String(await within("the source to fail", failed)), /Destination went away/);
      assertEveryPageSentOnce(await within("the source to complete", completed), image);
      await saved.countsOn(lucky.qemu);
    }),
  );
}
