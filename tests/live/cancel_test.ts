/** Live migrations that are cancelled, at every moment: the guest goes on at the source. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { Guest } from "../../migration/guest.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { Destination } from "../../client/destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { migrateLive, twoBlocks } from "./live_migration.ts";
import { assertGoesOn, type Attempt } from "./unharmed.ts";
import { WritingGuest } from "./writing_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const MIB = 1 << 20;
/** Bytes a second at which the first round takes minutes: it is not over before a test is. */
const MINUTES = MIB / 8;
const CANCELLED = {
  code: "CANCELLED",
  message: /^Migration was cancelled: the guest goes on here$/,
  status: "cancelled",
};

/** A promise for a moment, and what happens at it. */
function moment(): { readonly reached: Promise<void>; readonly reach: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { reached: promise, reach: resolve };
}

function cancel({ source }: Attempt): void {
  assertEquals(source.cancel(), true);
}

Deno.test(
  "LiveSource.cancel before anything was sent lets the guest run on",
  leavingNoDescriptors(() => assertGoesOn({ act: cancel, calls: [], ...CANCELLED })),
);

Deno.test(
  "LiveSource is cancelled by a signal that was aborted before it ran",
  leavingNoDescriptors(() =>
    assertGoesOn({ signal: AbortSignal.abort(), act: () => {}, calls: [], ...CANCELLED })
  ),
);

Deno.test(
  "LiveSource.cancel ends the wait for a destination that takes the connection and nothing else",
  leavingNoDescriptors(async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    await assertGoesOn({
      to: { transport: "tcp", host: "127.0.0.1", port },
      act: async (attempt) => {
        await until("pages to send", () => attempt.source.status === "active");
        cancel(attempt);
      },
      calls: [],
      ...CANCELLED,
    });
  }),
);

Deno.test(
  "LiveSource.cancel in the first round lets the guest run on",
  leavingNoDescriptors(() =>
    assertGoesOn({
      maxBandwidth: MINUTES,
      act: async (attempt) => {
        await until("pages sent", () => attempt.source.statistics().ram.normal > 20);
        cancel(attempt);
      },
      calls: [],
      ...CANCELLED,
    })
  ),
);

Deno.test(
  "LiveSource.cancel in a later round lets the guest run on",
  leavingNoDescriptors(() =>
    assertGoesOn({
      postcopy: "never",
      downtimeLimit: 0,
      writes: {}, // so there is no last round
      burst: 0,
      act: async (attempt) => {
        await until(
          "a third round",
          () => attempt.source.statistics().ram["dirty-sync-count"] > 2,
        );
        cancel(attempt);
      },
      calls: [],
      ...CANCELLED,
    })
  ),
);

for (const postcopy of ["never", "now"] as const) {
  for (const call of ["stop", "save"] as const) {
    Deno.test(
      `LiveSource.cancel during ${call} resumes the guest, with postcopy ${postcopy}`,
      leavingNoDescriptors(() => {
        const held = moment();
        const go = moment();
        return assertGoesOn({
          postcopy,
          before: ({ guest }) => {
            guest.hold = async (which) => {
              if (which !== call) return;
              held.reach();
              await go.reached;
            };
          },
          act: async (attempt) => {
            await held.reached;
            cancel(attempt);
            go.reach();
          },
          calls: call === "stop" ? ["stop", "resume"] : ["stop", "save", "resume"],
          ...CANCELLED,
        });
      }),
    );
  }

  Deno.test(
    `LiveSource.cancel is too late while the destination loads, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      using region = twoBlocks();
      await using guest = new WritingGuest(region.blocks, { burst: 20 });
      const loading = moment();
      const go = moment();
      const arriving = new class extends StillGuest {
        override async load(...args: Parameters<Guest["load"]>): Promise<void> {
          super.load(...args);
          loading.reach();
          await go.reached;
        }
      }();
      await using destination = new Destination({ guest: arriving });
      const to = await destination.listen(LOOPBACK);
      await using source = new LiveSource(region, guest, { to, postcopy, downtimeLimit: 1e6 });
      const run = source.run();
      await loading.reached;
      assertEquals(source.cancel(), false);
      go.reach();
      await within("the end", Promise.all([run, destination.finished]));
      assertEquals(guest.calls, ["stop", "save"]);
      assertEquals(arriving.calls, ["load", "start"]);
    }),
  );
}

Deno.test(
  "LiveSource.cancel is too late once the guest is loaded at the destination",
  leavingNoDescriptors(async () => {
    let late: boolean | undefined;
    const { source } = await migrateLive({
      postcopy: "now",
      maxPostcopyBandwidth: 16 * MIB,
      during: async (source) => {
        await until("loaded", () => source.statistics()["time-to-run"] !== undefined);
        late = source.cancel();
      },
    });
    assertEquals(late, false);
    assertEquals(source.status, "completed");
  }),
);

Deno.test(
  "LiveSource is not cancelled by a signal once the guest is loaded at the destination",
  leavingNoDescriptors(async () => {
    const abort = new AbortController();
    const { source } = await migrateLive({
      postcopy: "now",
      maxPostcopyBandwidth: 16 * MIB,
      signal: abort.signal,
      during: async (source) => {
        await until("loaded", () => source.statistics()["time-to-run"] !== undefined);
        abort.abort();
      },
    });
    assertEquals(source.status, "completed");
  }),
);

Deno.test(
  "LiveSource that never ran is closed without a word to its guest",
  leavingNoDescriptors(async () => {
    using region = twoBlocks();
    await using guest = new WritingGuest(region.blocks, { burst: 20 });
    const to = { transport: "tcp", host: "127.0.0.1", port: 1 } as const;
    const source = new LiveSource(region, guest, { to });
    await source.close();
    await source.close();
    assertEquals(guest.calls, []);
    assert(guest.writes >= 0);
  }),
);
