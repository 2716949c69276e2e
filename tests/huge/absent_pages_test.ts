/** Huge pages that an image lacks: none is made at the destination before it is touched. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { makeCapture, PAGE, part, testPage, withDirectory } from "../image/captures.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstDifference, residentPages } from "../support/resident_pages.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";

const HOST_PAGES = 5;
const PARTS = HUGE / PAGE;

/** The first two host pages are in the image, of the second one page alone. */
function isHeld(page: number): boolean {
  return page < PARTS || page === PARTS + 77;
}

testUnless(
  needsHugePages(HOST_PAGES),
  "Destination makes no huge page that the image lacks before it is touched, and then one of zeros",
  () =>
    withDirectory(async (directory) => {
      await using stack = new AsyncDisposableStack();
      stack.use(new GrantedHugePages(HOST_PAGES));
      const memory = new Uint8Array(HOST_PAGES * HUGE);
      const bytes = makeCapture(
        { blocks: [{ name: "ram", usedLength: memory.length }] },
        (encoder) =>
          part(encoder, () => {
            encoder.block("ram");
            for (let page = 0; page < HOST_PAGES * PARTS; page++) {
              if (!isHeld(page)) continue;
              memory.set(testPage(page), page * PAGE);
              encoder.page(page * PAGE, testPage(page), 0);
            }
          }),
      );
      const path = `${directory}/image`;
      await Deno.writeFile(path, bytes);
      const image = stack.use(withHugePages(await openImage(path), ["ram"]));
      const guest = new StillGuest();
      const destination = stack.use(new Destination({ guest }));
      const relay = stack.use(await FaultRelay.start(await destination.listen(LOOPBACK)));
      const options = { to: relay.address, maxPostcopyBandwidth: 1 << 20 };
      const source = stack.use(new Source(image, options));
      const run = source.run();
      run.catch(() => {}); // awaited below
      await within("postcopy", destination.waitFor("postcopy-active"));
      const [block] = guest.blocks;
      const at = block!.address + 3 * HUGE;
      const early = stack.use(new FaultingThread(at + 9 * PAGE));
      assertEquals(await early.found(), 0);
      relay.redirect({ transport: "tcp", host: "127.0.0.1", port: 1 }); // nobody listens there
      relay.cut();
      await within("the pause", destination.waitFor("postcopy-paused"));
      const late = [0, 1].map((page) => stack.use(new FaultingThread(at + HUGE + page * PAGE)));
      for (const thread of late) assertEquals(await thread.found(), 0);
      assertEquals(destination.statistics().requests, 0);

      relay.redirect(
        stack.use(await FaultRelay.start(await destination.recover(LOOPBACK))).address,
      );
      source.pauseReason ?? await until("the pause", () => source.pauseReason !== undefined);
      source.recover();
      const { ram } = await within("the source to complete", run);
      await within("the destination to complete", destination.finished);
      assertEquals([ram.duplicate, ram.remaining], [PARTS - 1, 0]);
      const { received, absent, pages, duplicates } = destination.statistics();
      assertEquals([received, absent, pages], [2 * PARTS, 3 * PARTS, 5 * PARTS]);
      assertEquals(duplicates, 0);
      assertEquals(residentPages(block!), 4 * PARTS); // two that were held, and two that were touched
      assertEquals(firstDifference(block!, memory), -1);
    }),
);
