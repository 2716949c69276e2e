/** Keys that change in the middle of a migration, on every session and both ways, while pages are asked for. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK } from "../support/migrate.ts";
import { preSharedKey } from "./credentials.ts";
import { UpdatingRelay } from "./updating_relay.ts";

const PAGES = 2500;
/** Bytes a second: slow enough for the guest to ask while it streams. */
const SLOW = 6 << 20;

async function migrate(mode: Mode): Promise<void> {
  await using both = await preSharedKey();
  const { source: client, destination: server } = both.encryption;
  using file = await TestImage.make({ ram: PAGES });
  using image = await openImage(file.path);
  const guest = new WorkloadGuest({ threads: 2, write: true, untilTouched: true });
  await using destination = new Destination({ guest, tls: server });
  const to = await destination.listen(LOOPBACK);
  await using relay = await UpdatingRelay.start(to, both.key);
  await using source = new Source(image, {
    mode,
    to: relay.address,
    maxPostcopyBandwidth: SLOW,
    tls: client,
  });
  await within("both ends to complete", Promise.all([source.run(), destination.finished]));
  assertEachPageOnce({ source: source.statistics(), destination: destination.statistics() });
  assertEquals([destination.statistics().pauses, relay.failures], [0, []]);
  await guest.ended;
  assertEquals(guest.statistics().failures, []);
  assertEquals(await guest.check(), { pages: file.pages, wrongPages: 0 });
  const [main, preempt] = relay.connections;
  // The source answers in front of its pages, the destination in front of its requests.
  assertGreater(main!.source.answered, 0);
  assertGreater(main!.destination.answered, 0);
  if (mode === "vanilla") return assertEquals(preempt, undefined);
  // There pages come and nothing goes back.
  assertGreater(preempt!.destination.begun, 0);
  file.assertUntouched();
}

for (const mode of MODES) {
  Deno.test(
    `Both ends in mode ${mode} follow changes of keys while pages are asked for, and lose no byte`,
    leavingNoDescriptors(() => migrate(mode)),
  );
}
