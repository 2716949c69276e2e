/** Images that lack pages, moved to a destination of ours: none is sent, none exists there, all are zero. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { PAGE, withDirectory } from "../image/captures.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assertLacking, HELD, isHeld, LACKING, RAM_PAGES, writeLacking } from "./lacking_images.ts";

await keepThreads(...SOURCE, ...DESTINATION);

const BACKINGS = ["anonymous", "memfd"] as const;
/** Bytes of the main channel from one moment to the next, of 8 MB in all. */
const SOME_BYTES = 1_000_000;
/** Bytes a second: the end is not reached before the test has seen what it waits for. */
const SLOW = 2 << 20;

/** Runs with an image of either kind and a destination of either kind behind a relay. */
function moving(
  kind: typeof LACKING[number],
  backing: typeof BACKINGS[number],
  test: (moved: {
    readonly make: (options?: Partial<SourceOptions>) => Source;
    readonly destination: Destination;
    readonly relay: FaultRelay;
    readonly guest: StillGuest;
    /** Sees that all is there, and nothing that was not touched. */
    readonly whole: (touched?: readonly [number, number]) => void;
  }) => Promise<void>,
): () => Promise<void> {
  return leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      const path = `${directory}/image`;
      const content = await writeLacking(kind, path);
      using image = await openImage(path);
      const guest = new StillGuest();
      await using destination = new Destination({ guest, backing });
      await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
      await using stack = new AsyncDisposableStack();
      await test({
        make: (options = {}) => stack.use(new Source(image, { to: relay.address, ...options })),
        destination,
        relay,
        guest,
        whole: (touched) => assertLacking(destination, guest.blocks, content, touched),
      });
    })
  );
}

// The image is the source's matter, the backing the destination's: no combination of the two is tested in
// every mode, but each mode with each of either.
for (const [at, kind] of LACKING.entries()) {
  for (const [index, mode] of MODES.entries()) {
    const backing = BACKINGS[(at + index) % BACKINGS.length]!;
    Deno.test(
      `Source in mode ${mode} sends nothing that a ${kind} lacks, and it takes no ${backing} memory`,
      moving(kind, backing, async ({ make, destination, whole }) => {
        const source = make({ mode });
        const [{ ram }] = await within(
          "both ends",
          Promise.all([source.run(), destination.finished]),
        );
        assertEquals([ram.normal, ram.duplicate, ram.remaining], [HELD, 0, 0]);
        assertEquals(destination.statistics().requests, 0);
        whole();
      }),
    );
  }
}

for (const kind of LACKING) {
  for (const backing of BACKINGS) {
    Deno.test(
      `Source that recovers sends nothing that a ${kind} lacks either, into ${backing} memory`,
      moving(kind, backing, async ({ make, destination, relay, whole }) => {
        const source = make({ maxPostcopyBandwidth: SLOW });
        const run = source.run();
        run.catch(() => {}); // awaited below
        for (let time = 0; time < 2; time++) {
          await until("pages", () => {
            const { status, recoveries, received } = destination.statistics();
            return status === "postcopy-active" && recoveries === time && received > 200 * time;
          });
          const main = relay.connections[2 * time]!;
          main.cutAt(main.passed + SOME_BYTES);
          await within("the cut", main.over());
        }
        source.setMaxPostcopyBandwidth(0);
        const { ram } = await within("the source to complete", run);
        await within("the destination to complete", destination.finished);
        assertEquals([ram.duplicate, ram.remaining], [0, 0]);
        assertEquals(destination.statistics().recoveries, 2);
        whole();
      }),
    );

    Deno.test(
      `Destination in ${backing} memory gives zeros to who touches what a ${kind} lacks, while it is paused too`,
      moving(kind, backing, async ({ make, destination, relay, guest, whole }) => {
        const first = make({ maxPostcopyBandwidth: SLOW });
        first.run().catch(() => {});
        await within("postcopy", destination.waitFor("postcopy-active"));
        const [ram, hole] = guest.blocks.map(({ address }) => address) as [number, number];
        using early = new FaultingThread(hole + 1000 * PAGE);
        assertEquals(await early.found(), 0);
        const main = relay.connections[0]!;
        main.cutAt(main.passed + SOME_BYTES);
        await within("the cut", main.over());
        await first.close();
        await within("the pause", destination.waitFor("postcopy-paused"));

        // Nobody is connected: what is absent is had all the same, and what is not is waited for.
        const { requests } = destination.statistics();
        assert(isHeld(RAM_PAGES - 3) && !isHeld(RAM_PAGES - 2));
        using held = new FaultingThread(ram + (RAM_PAGES - 3) * PAGE);
        using absent = new FaultingThread(ram + (RAM_PAGES - 2) * PAGE);
        using last = new FaultingThread(hole + 2000 * PAGE);
        using again = new FaultingThread(hole + 2000 * PAGE);
        assertEquals(await absent.found(), 0);
        assertEquals([await last.found(), await again.found()], [0, 0]);
        await until("the other fault", () => destination.statistics().faults >= 4);
        assertEquals([held.isThrough, destination.statistics().requests], [false, requests]);

        // A process that knows nothing of the first.
        const second = make({ recover: true });
        const { ram: sent } = await within("the source to complete", second.run());
        await within("the destination to complete", destination.finished);
        assertGreater(sent.normal, 0);
        assertEquals([sent.duplicate, sent.remaining], [0, 0]);
        assert(await held.found() !== 0);
        whole([1, 2]);
      }),
    );
  }
}
