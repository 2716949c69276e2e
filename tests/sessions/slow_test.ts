/** Sessions that stand still, at either end: nobody waits for them. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK, migrate } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { Session } from "./session.ts";

const PAGES = 128;
/** More than two sockets hold between them. */
const MANY = 6144;
/** Bytes a second: a page in 41 s. */
const TINY = 100;
/** Bytes a second: a page in a quarter of a second, where nobody asks for more. */
const SLOW = 16 << 10;
/** Looks, 2 ms or more apart, at a source that does nothing. */
const STILL = 100;

/** Moves a guest that asks for its pages, and compares every byte. */
async function moveAnother(pool: ThreadPool, mode: Mode): Promise<void> {
  using image = await TestImage.make({ ram: PAGES }, { seed: 3 });
  const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
  await migrate(image.path, { pool, mode, guest, maxPostcopyBandwidth: SLOW }, async (migrated) => {
    assertEachPageOnce(migrated);
    assertGreater(migrated.source.ram["postcopy-requests"], 0);
    await guest.ended;
    assertEquals(guest.statistics().failures, []);
    assertEquals(await guest.check(), { pages: image.pages, wrongPages: 0 });
  });
}

/** Waits until a source sends nothing more. */
async function atRest(source: Source): Promise<void> {
  let [still, before] = [0, 0];
  await until("the source to send nothing more", () => {
    const now = source.statistics().ram.normal;
    still = now > 0 && now === before ? still + 1 : 0;
    before = now;
    return still === STILL;
  });
}

for (const mode of MODES) {
  Deno.test(
    `Source in mode ${mode} serves a guest whole while others on its threads stand still`,
    leavingNoDescriptors(async () => {
      await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
      using small = await TestImage.make({ ram: PAGES });
      using large = await TestImage.make({ ram: MANY });
      using image = await openImage(small.path);
      using largeImage = await openImage(large.path);
      // The destination of one reads nothing more of its main channel.
      using deaf = await HostileDestination.listen({ receiveBuffer: 4096 });
      await using stuck = new Source(largeImage, { to: deaf.address, pool, mode });
      const stuckRun = stuck.run().then(() => "completed", ({ code }) => code);
      await within("the pages", deaf.play("pages"));
      await atRest(stuck);
      // Another has hardly any bandwidth.
      const options = { pool, mode, maxPostcopyBandwidth: TINY };
      await using tiny = await Session.start({ file: small, image }, options);
      await tiny.runs();

      await moveAnother(pool, mode);
      assertEquals([stuck.status, tiny.source.status], ["postcopy-active", "postcopy-active"]);
      assertLess(stuck.statistics().ram.normal, MANY / 2);
      assertLess(tiny.destination.statistics().received, PAGES);
      await within("the source to close", stuck.close());
      assertEquals(await stuckRun, "CANCELLED");
    }),
  );

  Deno.test(
    `Destination gets a guest whole in mode ${mode} while a source on its threads stands still in the midst of a page`,
    leavingNoDescriptors(async () => {
      await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
      const guest = new StillGuest();
      await using destination = new Destination({ guest, pool });
      using source = new HostileSource(await destination.listen(LOOPBACK), { ram: 64 });
      await source.connect();
      await source.switchOver();
      await within("the guest to start", destination.waitFor("postcopy-active"));
      source.encodePages(Array(64).keys());
      source.encodeEnd();
      const bytes = source.stream.take();
      await source.flush(bytes.subarray(0, 10_000));
      using thread = new FaultingThread(guest.blocks[0]!.address + 40 * 4096);
      await within("a request", source.hear(({ requests }) => requests.length > 0));

      await moveAnother(pool, mode);
      assertEquals([destination.status, thread.isThrough], ["postcopy-active", false]);
      await source.flush(bytes.subarray(10_000));
      await within("completion", destination.finished);
      assertEquals(await thread.found(), guest.words()[40 * 1024 + 5]);
    }),
  );
}
