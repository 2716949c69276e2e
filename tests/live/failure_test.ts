/** Destinations and sources that die in a live migration: nothing is lost, and nothing is zero. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { RamLayoutError } from "../../migration/memory/ram_layout.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { migrateLive, twoBlocks } from "./live_migration.ts";
import { assertGoesOn, type Attempt } from "./unharmed.ts";
import { assertSameMemory, WritingGuest } from "./writing_guest.ts";
import { writingPrecopy } from "./writing_precopy.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const MIB = 1 << 20;
/** The first round takes minutes: it is not over before a test is. */
const SLOW = { maxBandwidth: MIB / 8 };

async function killDestination({ destination }: Attempt): Promise<void> {
  await destination!.close();
}

Deno.test(
  "LiveSource lets the guest run on when nobody listens",
  leavingNoDescriptors(async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    await assertGoesOn({
      to: { transport: "tcp", host: "127.0.0.1", port },
      act: () => {},
      calls: [],
      code: "ECONNREFUSED",
      message: /^connect failed with ECONNREFUSED/,
    });
  }),
);

Deno.test(
  "LiveSource lets the guest run on when the destination dies in the first round",
  leavingNoDescriptors(() =>
    assertGoesOn({
      ...SLOW,
      act: async (attempt) => {
        await until("pages sent", () => attempt.source.statistics().ram.normal > 20);
        await killDestination(attempt);
      },
      calls: [],
      code: "CONNECTION_LOST",
      message: /^Destination went away: .*: the guest goes on here$/,
    })
  ),
);

Deno.test(
  "LiveSource gives up on a destination that stops reading, and the guest runs on",
  leavingNoDescriptors(async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    await assertGoesOn({
      to: { transport: "tcp", host: "127.0.0.1", port },
      stallTimeout: 300,
      act: () => {},
      calls: [],
      code: "STALLED",
      message:
        /^Destination (?:has taken nothing on the main channel for 0.3 s|.*: no sign of life)/,
    });
  }),
);

for (const postcopy of ["never", "now"] as const) {
  Deno.test(
    `LiveSource does not stop its guest for a destination that takes all and says nothing, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = listener.addr;
      using region = new LiveRegion({ blocks: [{ name: "ram", length: 8 * 4096 }] });
      await using guest = new WritingGuest(region.blocks, { burst: 1 });
      await using source = new LiveSource(region, guest, {
        to: { transport: "tcp", host: "127.0.0.1", port },
        mode: "vanilla",
        postcopy,
        stallTimeout: 300,
      });
      const error = await assertRejects(
        () => within("the source to fail", source.run()),
        Error,
        "Destination has not answered",
      );
      assertMatch(error.message, /: the guest goes on here$/);
      assertEquals([source.status, guest.calls], ["failed", []]);
    }),
  );

  Deno.test(
    `LiveSource resumes the guest when it cannot be loaded there, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      const arriving = new class extends StillGuest {
        override load(): void {
          throw new Error("No such machine");
        }
      }();
      await assertGoesOn({
        postcopy,
        arriving,
        act: () => {},
        calls: ["stop", "save", "resume"],
        code: "PEER_FAILED",
        message: /^Destination reports a failure: SHUT 1: .*: the guest goes on here$/,
      });
      assertEquals(arriving.calls.includes("start"), false);
    }),
  );

  Deno.test(
    `LiveSource resumes the guest when the destination dies while loading, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      const loading = Promise.withResolvers<void>();
      const go = Promise.withResolvers<void>();
      const arriving = new class extends StillGuest {
        override async load(): Promise<void> {
          loading.resolve();
          await go.promise;
        }
      }();
      await assertGoesOn({
        postcopy,
        arriving,
        act: async (attempt) => {
          await loading.promise;
          const closed = killDestination(attempt);
          go.resolve();
          await closed;
        },
        calls: ["stop", "save", "resume"],
        code: "CONNECTION_LOST",
        message: /^Destination went away: .*: the guest goes on here$/,
      });
      assertEquals(arriving.calls.includes("start"), false);
    }),
  );

  Deno.test(
    `LiveSource resumes the guest when its state cannot be saved, with postcopy ${postcopy}`,
    leavingNoDescriptors(() =>
      assertGoesOn({
        postcopy,
        before: ({ guest }) => {
          guest.hold = (call) => {
            if (call === "save") throw Object.assign(new Error("Disk on fire"), { code: "MINE" });
          };
        },
        act: () => {},
        calls: ["stop", "save", "resume"],
        code: "MINE",
        message: /^Disk on fire$/,
      })
    ),
  );
}

Deno.test(
  "LiveSource does not resume the guest when the destination dies once it runs there",
  leavingNoDescriptors(async () => {
    using region = twoBlocks();
    await using guest = new WritingGuest(region.blocks);
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await using source = new LiveSource(region, guest, {
      to,
      postcopy: "now",
      maxPostcopyBandwidth: 1,
      recoverTimeout: 0,
    });
    const run = source.run();
    run.catch(() => {});
    await within("postcopy", destination.waitFor("postcopy-active"));
    await destination.close();
    const error = await within("the source to fail", assertRejects(() => run, Error));
    assertMatch(
      error.message,
      /the guest was loaded at the destination already and lacks at least/,
    );
    assertEquals(source.status, "failed");
    await within("the source to close", source.close()); // it does nothing after that
    assertEquals(guest.calls, ["stop", "save"]);
    assertSameMemory(region.blocks, guest.snapshot);
  }),
);

Deno.test(
  "Destination keeps what it has and gives no zeros when a live source dies in postcopy",
  async () => {
    using region = twoBlocks();
    await using guest = new WritingGuest(region.blocks, { burst: 20 });
    const arrived = new StillGuest();
    const destination = new Destination({ guest: arrived });
    const to = await destination.listen(LOOPBACK);
    const source = new LiveSource(region, guest, {
      to,
      postcopy: 1,
      downtimeLimit: 0,
      maxPostcopyBandwidth: 1,
    }, writingPrecopy({ rounds: 1 }));
    const run = source.run();
    run.catch(() => {});
    await within("postcopy", destination.waitFor("postcopy-active"));
    await source.close();
    await within("the pause", destination.waitFor("postcopy-paused"));
    const { received, pages } = destination.statistics();
    assert(received > 0 && received < pages, `${received} of ${pages}`);
    // What it has can be read, and is right; what it lacks is missing, not zero.
    const probe = new Worker(new URL("./probe_worker.ts", import.meta.url), { type: "module" });
    const { promise, resolve } = Promise.withResolvers<readonly number[]>();
    probe.onmessage = ({ data }) => resolve(data);
    probe.postMessage(arrived.blocks);
    const present = await within("the look at the pages", promise);
    probe.terminate();
    assertEquals(present.length, received);
    for (const page of present) {
      const block = page < arrived.blocks[0]!.length / 4096 ? 0 : 1;
      const at = (block === 0 ? page : page - arrived.blocks[0]!.length / 4096) * 4096;
      const found = viewMemory(arrived.blocks[block]!.address + at, 4096);
      assertEquals(found.toHex(), guest.snapshot[block]!.subarray(at, at + 4096).toHex());
    }
    await destination.close();
  },
);

Deno.test("LiveRegion refuses a block that is no whole number of pages", () => {
  const error = assertThrows(
    () => new LiveRegion({ blocks: [{ name: "odd", length: 5000 }] }),
    RamLayoutError,
  );
  assertMatch(error.message, /^Length of RAM block odd is no positive multiple of 4096: 5000/);
});

for (
  const [what, options, message] of [
    [
      "a negative downtime limit",
      { downtimeLimit: -1 },
      /^downtimeLimit must be a number from 0 on: -1$/,
    ],
    ["no rounds", { postcopy: 0 }, /^Rounds before postcopy .*: 0$/],
    ["half a round", { postcopy: 1.5 }, /^Rounds before postcopy .*: 1.5$/],
  ] as const
) {
  Deno.test(`LiveSource refuses ${what}`, () => {
    using region = twoBlocks();
    const guest = { stop: () => {}, save: () => new Uint8Array(0), resume: () => {} };
    const to = { transport: "tcp", host: "127.0.0.1", port: 1 } as const;
    const error = assertThrows(() => new LiveSource(region, guest, { to, ...options }), RangeError);
    assertMatch(error.message, message);
  });
}

Deno.test(
  "LiveSource migrates two regions of one process at once",
  leavingNoDescriptors(async () => {
    await Promise.all([
      migrateLive({ postcopy: "never", burst: 10 }),
      migrateLive({ postcopy: 2, downtimeLimit: 0 }),
    ]);
  }),
);
