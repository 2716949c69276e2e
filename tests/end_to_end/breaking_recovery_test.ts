/** What the fault campaign found: recoveries that break at once, and what they leave. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK, runsThere } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION);

const PAGES = 600;
/** Bytes a second: pages are left when the connection breaks. */
const SLOW = 1 << 20;
const BREAKS = 8;

Deno.test(
  `Source comes through ${BREAKS} recoveries whose main connection breaks as soon as it is made`,
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    await using relay = await FaultRelay.start(await destination.listen(LOOPBACK), {
      resets: true,
    });
    const log = new StatusLog();
    await using source = new Source(image, {
      to: relay.address,
      maxPostcopyBandwidth: SLOW,
      onStatus: log.add,
    });
    const run = source.run();
    await runsThere(source, destination);
    for (let time = 1; time <= BREAKS; time++) {
      relay.next((main) => main.cut());
      relay.next(() => {}); // the preempt connection is made
    }
    relay.cut();
    const over = run.then(() => true);
    for (let time = 1;; time++) {
      const paused = log.reached("postcopy-paused", time).then(() => false);
      if (await within("a pause, or the end", Promise.race([over, paused]))) break;
      if (time > BREAKS) source.setMaxPostcopyBandwidth(0);
      source.recover();
    }
    await within("the destination to complete", destination.finished);
    file.assertEqualMemory(guest.blocks);
    assertEquals(guest.calls, ["load", "start"]);
  }),
);

Deno.test(
  "Source that recovers what another began leaves no descriptor open",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    const to = await destination.listen(LOOPBACK);
    {
      await using first = new Source(image, { to, maxPostcopyBandwidth: 1 });
      first.run().catch(() => {});
      await within("the guest to run", destination.waitFor("postcopy-active"));
    }
    await within("the pause", destination.waitFor("postcopy-paused"));
    await using second = new Source(image, { to, recover: true });
    await within("both ends", Promise.all([second.run(), destination.finished]));
    file.assertEqualMemory(guest.blocks);
  }),
);

Deno.test(
  "Source that is closed when it is about to connect again leaves no descriptor open",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    const log = new StatusLog();
    await using source = new Source(image, {
      to,
      maxPostcopyBandwidth: 1,
      onStatus: log.add,
    });
    const run = source.run();
    run.catch(() => {});
    await runsThere(source, destination);
    source.pause();
    await within("the pause", log.reached("postcopy-paused"));
    source.recover();
    await within("the close", source.close());
    await within("the end", assertRejects(() => run, Error));
  }),
);
