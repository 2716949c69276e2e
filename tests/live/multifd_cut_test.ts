/** Connections of a live migration over multifd that break before the switch: the guest goes on at the source. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { MULTIFD_TASK } from "../../server/multifd/multifd_sender.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { DESTINATION, keepThreads, MULTIFD, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { twoBlocks } from "./live_migration.ts";
import { assertGoesOn } from "./unharmed.ts";
import { WritingGuest } from "./writing_guest.ts";
import { writingPrecopy } from "./writing_precopy.ts";

await keepThreads(...SOURCE, ...DESTINATION, ...MULTIFD, PRECOPY);

const MIB = 1 << 20;
const CHANNELS = 3;
const METHODS = ["none", "zlib", "zstd"] as const;

for (const resets of [false, true]) {
  Deno.test(
    `LiveSource goes on with the guest wherever a channel of multifd is ${
      resets ? "reset" : "cut"
    }`,
    leavingNoDescriptors(async () => {
      for (let seed = 1; seed <= 8; seed++) {
        const random = new Random(seed);
        using region = twoBlocks(4 * MIB);
        await using guest = new WritingGuest(region.blocks, { burst: 20, threads: 1 });
        const arrived = new StillGuest();
        await using destination = new Destination({ guest: arrived, multifdChannels: CHANNELS });
        const address = await destination.listen(LOOPBACK);
        destination.finished.catch(() => {});
        await using relay = await FaultRelay.start(address, { resets });
        const cut = random.below(CHANNELS + 1);
        const bytes = random.below(cut === 0 ? 300 : 400_000);
        for (let each = 0; each <= CHANNELS; each++) {
          relay.next((connection) => each === cut && connection.cutAt(bytes));
        }
        // It never comes to an end: something is written in each round.
        await using source = new LiveSource(region, guest, {
          to: relay.address,
          postcopy: "never",
          downtimeLimit: 0,
          multifd: { channels: CHANNELS, compression: random.pick([...METHODS]) },
        }, writingPrecopy({}));
        const where = `seed ${seed}, connection ${cut} at ${bytes}`;
        const error = await within(where, source.run().then(() => undefined, (error) => error));
        assertMatch(error?.message ?? "completed", /the guest goes on here$/, where);
        assertEquals([guest.calls, arrived.calls], [[], []], where);
        const before = guest.writes;
        await until("the guest writes on", () => guest.writes > before);
      }
    }),
  );
}

Deno.test(
  "LiveSource over multifd that is cancelled goes on with the guest, which moves another time",
  leavingNoDescriptors(async () => {
    await using destination = new Destination({
      guest: new StillGuest(),
      multifdChannels: CHANNELS,
    });
    destination.finished.catch(() => {});
    await assertGoesOn({
      to: await destination.listen(LOOPBACK),
      multifd: { channels: CHANNELS, compression: "zstd" },
      postcopy: "never",
      downtimeLimit: 0,
      writes: {},
      act: async ({ source }) => {
        await until("pages are sent", () => source.statistics().multifd!.bytes > 100_000);
        source.cancel();
      },
      code: "CANCELLED",
      message: /the guest goes on here$/,
      calls: [],
      status: "cancelled",
    });
  }),
);

Deno.test(
  "LiveSource whose thread of multifd channels dies goes on with the guest",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ linger: 0 });
    await using destination = new Destination({
      guest: new StillGuest(),
      multifdChannels: CHANNELS,
    });
    destination.finished.catch(() => {});
    await assertGoesOn({
      to: await destination.listen(LOOPBACK),
      multifd: { channels: CHANNELS },
      pool,
      postcopy: "never",
      downtimeLimit: 0,
      writes: {},
      act: async ({ source }) => {
        await until("pages are sent", () => source.statistics().multifd!.bytes > 100_000);
        pool.kill(MULTIFD_TASK.thread);
      },
      code: "THREAD_DIED",
      message: /the guest goes on here$/,
      calls: [],
    });
  }),
);

Deno.test(
  "LiveSource over multifd gives up a destination that takes nothing on its channels",
  leavingNoDescriptors(async () => {
    await using destination = new Destination({
      guest: new StillGuest(),
      multifdChannels: CHANNELS,
    });
    destination.finished.catch(() => {});
    await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
    relay.next(() => {});
    relay.next((connection) => void connection.holdAt(50_000));
    await assertGoesOn({
      to: relay.address,
      multifd: { channels: CHANNELS },
      postcopy: "never",
      downtimeLimit: 0,
      stallTimeout: 2_000,
      writes: {},
      act: () => {},
      code: "STALLED",
      message: /taken nothing on the multifd channel for 2 s/,
      calls: [],
    });
  }),
);
