/** The moment at which a guest changes hands: it runs at one end, never at both. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { Listener } from "../../ffi/listener.ts";
import type { Guest, LiveGuest } from "../../migration/guest.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource, type LiveSourceOptions } from "../../server/live/live_source.ts";
import { PING } from "../../server/sending/control_stream.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { HoldRelay } from "../support/hold_relay.ts";
import { DESTINATION, keepThreads, PRECOPY, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION, PRECOPY);

const MIB = 1 << 20;

/** A guest at the source whose calls are recorded. */
class RecordedGuest implements LiveGuest {
  readonly calls: string[] = [];
  readonly #state: Uint8Array;

  constructor(state: Uint8Array = new Uint8Array(1000)) {
    this.#state = state;
  }

  stop(): void {
    this.calls.push("stop");
  }

  save(): Uint8Array | Promise<Uint8Array> {
    this.calls.push("save");
    return this.#state;
  }

  resume(): void | Promise<void> {
    this.calls.push("resume");
  }
}

type Step = PromiseWithResolvers<void>;

function smallRegion(machine = "postcopy-live"): LiveRegion {
  return new LiveRegion({ machine, blocks: [{ name: "a", length: 4 * MIB }] });
}

/** A migration whose confirmation is held back on its way to the source. */
interface HeldBack {
  readonly source: LiveSource;
  readonly outcome: Promise<{ code: string; message: string } | undefined>;
  readonly relay: HoldRelay;
}

/** What the guests were told, and whether the source waited for the guest to run at the destination. */
interface Withheld {
  readonly here: readonly string[];
  readonly there: readonly string[];
  readonly held: boolean;
}

/**
 * Migrates until the guest runs at the destination and the source has not heard of it. Does not act when
 * the source has lost its patience before.
 */
async function withheld(
  options: Omit<LiveSourceOptions, "to">,
  act: (held: HeldBack) => Promise<void>,
): Promise<Withheld> {
  using region = smallRegion();
  const guest = new RecordedGuest();
  const arrived = new class extends StillGuest {
    override load(...args: Parameters<Guest["load"]>): void {
      relay.hold();
      super.load(...args);
    }
  }();
  await using destination = new Destination({ guest: arrived });
  using relay = new HoldRelay(await destination.listen(LOOPBACK));
  await using source = new LiveSource(region, guest, { ...options, to: relay.address });
  let over = false;
  const outcome = source.run().then(() => undefined, (error) => error).finally(() => over = true);
  const started = () => arrived.calls.includes("start") && relay.heldBytes > 0;
  await until("the start there", () => started() || over);
  const held = started();
  if (held) await act({ source, outcome, relay });
  await within("the outcome", outcome);
  return { here: guest.calls, there: arrived.calls, held };
}

for (const postcopy of ["never", "now"] as const) {
  Deno.test(
    `LiveSource.cancel is too late while the confirmation is on its way, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      const how = { postcopy };
      const { here, there, held } = await withheld(how, async ({ source, outcome, relay }) => {
        assertEquals(source.cancel(), false);
        relay.release();
        assertEquals(await within("the end", outcome), undefined);
        assertEquals(source.status, "completed");
      });
      assertEquals(held, true);
      assertEquals(here, ["stop", "save"]);
      assertEquals(there.slice(0, 2), ["load", "start"]);
    }),
  );

  Deno.test(
    `LiveSource that hears nothing leaves the guest stopped rather than run it twice, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      // A busy machine may take longer to get there than the source has patience at first.
      for (const stallTimeout of [300, 3000, 30_000]) {
        const how = { postcopy, stallTimeout, recoverTimeout: 0 };
        const { here, held } = await withheld(how, async ({ source, outcome }) => {
          const error = await within("the failure", outcome, 20_000 + 2 * stallTimeout);
          assertEquals(error?.code, "STALLED");
          assertMatch(error!.message, /nobody can say whether the guest runs at the destination/);
          assertEquals(source.status, "failed");
        });
        if (!held && stallTimeout < 30_000) continue;
        assertEquals(held, true);
        return assertEquals(here, ["stop", "save"]);
      }
    }),
  );

  Deno.test(
    `LiveSource that heard nothing learns on reconnecting that the guest runs there, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      for (const stallTimeout of [300, 3000, 30_000]) {
        const log = new StatusLog();
        const how = { postcopy, stallTimeout, onStatus: log.add };
        const { here, held } = await withheld(how, async ({ source, outcome, relay }) => {
          await within("the pause", log.reached("postcopy-paused"), 20_000 + 2 * stallTimeout);
          relay.release();
          assertEquals(await within("the end", outcome), undefined);
          assertEquals(source.status, "completed");
        });
        if (!held && stallTimeout < 30_000) continue;
        assertEquals(held, true);
        return assertEquals(here, ["stop", "save"]);
      }
    }),
  );

  Deno.test(
    `LiveSource that heard nothing learns on reconnecting that the guest does not run there, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      using region = smallRegion();
      const guest = new RecordedGuest();
      const refused = new class extends StillGuest {
        override load(): void {
          relay.hold();
          throw new Error("No such device");
        }
      }();
      await using destination = new Destination({ guest: refused });
      using relay = new HoldRelay(await destination.listen(LOOPBACK));
      const log = new StatusLog();
      const to = relay.address;
      const how = { to, postcopy, stallTimeout: 1000, onStatus: log.add };
      await using source = new LiveSource(region, guest, how);
      const outcome = source.run().then(() => undefined, (error) => error);
      // A source without patience on a busy machine fails before the guest was to be loaded at all.
      await within("the pause", Promise.race([log.reached("postcopy-paused"), outcome]));
      relay.release();
      const error = await within("the end", outcome);
      assertMatch(error.message, /the guest goes on here$/);
      assertEquals(guest.calls.at(-1) ?? "resume", "resume");
    }),
  );

  Deno.test(
    `LiveSource.close hears the destination out, with postcopy ${postcopy}`,
    leavingNoDescriptors(async () => {
      const { here, held } = await withheld({ postcopy }, async ({ source, outcome, relay }) => {
        const closed = source.close();
        relay.release();
        await within("the close", closed);
        const error = await outcome;
        if (postcopy === "never") assertEquals(error, undefined);
        else assertMatch(error!.message, /: the guest was loaded at the destination/);
      });
      assertEquals(held, true);
      assertEquals(here, ["stop", "save"]);
    }),
  );
}

Deno.test(
  "LiveSource.close waits until the guest goes on here",
  leavingNoDescriptors(async () => {
    using region = smallRegion();
    const [saving, save, resuming, resume] = Array.from(
      { length: 4 },
      () => Promise.withResolvers<void>(),
    ) as [Step, Step, Step, Step];
    const guest = new class extends RecordedGuest {
      override async resume(): Promise<void> {
        resuming.resolve();
        await resume.promise;
        super.resume();
      }

      override async save(): Promise<Uint8Array> {
        saving.resolve();
        await save.promise;
        return new Uint8Array(10);
      }
    }();
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    const source = new LiveSource(region, guest, { to, postcopy: "never" });
    source.run().catch(() => {});
    await within("the save", saving.promise);
    let closed = false;
    const closing = source.close().then(() => closed = true);
    save.resolve();
    await within("the resume", resuming.promise);
    await new Promise((resolve) => setTimeout(resolve)); // whatever was to happen at once has happened
    assertEquals(closed, false);
    resume.resolve();
    await within("the close", closing);
    assertEquals(guest.calls, ["stop", "resume"]);
  }),
);

Deno.test(
  "LiveSource says why it failed also when the guest cannot go on",
  leavingNoDescriptors(async () => {
    using region = smallRegion();
    const guest = new class extends RecordedGuest {
      override resume(): void {
        throw new Error("No resume");
      }
    }();
    const arrived = new class extends StillGuest {
      override load(): void {
        throw new Error("No such machine");
      }
    }();
    await using destination = new Destination({ guest: arrived });
    const to = await destination.listen(LOOPBACK);
    await using source = new LiveSource(region, guest, { to, postcopy: "never" });
    const error = await within("the end", source.run().then(() => undefined, (error) => error));
    assertEquals(error?.code, "GUEST_FAILED");
    assertMatch(error.message, /SHUT 1.*: the guest cannot go on here either: No resume$/);
  }),
);

for (const machine of ["pc-q35-7.2", "pc-q35-8.0"]) {
  for (const postcopy of ["never", "auto"] as const) {
    Deno.test(
      `LiveSource ends precopy with machine type ${machine}, with postcopy ${postcopy}`,
      leavingNoDescriptors(async () => {
        using region = smallRegion(machine);
        await using destination = new Destination({ guest: new StillGuest() });
        const to = await destination.listen(LOOPBACK);
        await using source = new LiveSource(region, new RecordedGuest(), { to, postcopy });
        const { status } = await within("the end", source.run());
        assertEquals(status, "completed");
        await within("all here", destination.finished);
      }),
    );
  }
}

/** Takes a large state more slowly than the source would wait for a part of it, and never stands still. */
async function takeSlowly(stallTimeout: number): Promise<string> {
  using region = smallRegion();
  const guest = new RecordedGuest(new Uint8Array(8 * MIB).fill(1));
  using listener = await Listener.listen(LOOPBACK);
  await using source = new LiveSource(region, guest, {
    to: listener.address,
    postcopy: "never",
    stallTimeout,
    recoverTimeout: 0,
    mode: "vanilla",
  });
  const outcome = source.run().then(() => "", (error) => error.message);
  using socket = await listener.accept();
  socket.setReceiveBuffer(65536);
  const say = new ReturnPathEncoder();
  say.pong(PING.RETURN_PATH); // it is there
  await socket.sendAll(say.take());
  const buffer = new Uint8Array(32768);
  for (let total = 0; total < 8 * MIB;) {
    await new Promise((resolve) => setTimeout(resolve, stallTimeout / 80));
    const count = await socket.receive(buffer, { timeout: 20_000 });
    if (count === 0) return await outcome;
    total += count;
  }
  await source.close();
  await outcome;
  return "taken";
}

Deno.test(
  "LiveSource does not call a destination stalled that takes a large state slowly",
  leavingNoDescriptors(async () => {
    // On a busy machine the destination takes less than it means to: then it is given more time.
    for (const stallTimeout of [400, 2000, 10_000]) {
      const outcome = await takeSlowly(stallTimeout);
      if (outcome !== "taken" && stallTimeout < 10_000) continue;
      return assertEquals(outcome, "taken");
    }
  }),
);

Deno.test(
  "LiveSource does not stop the guest for a destination that answers no PING",
  leavingNoDescriptors(async () => {
    using region = smallRegion();
    const guest = new RecordedGuest();
    using destination = await HostileDestination.listen({ pongs: false });
    await using source = new LiveSource(region, guest, {
      to: destination.address,
      postcopy: "now",
      stallTimeout: 300,
      mode: "vanilla",
    });
    const outcome = source.run().then(() => "", (error) => error.message);
    const played = destination.play().catch(() => {});
    assertMatch(await within("the end", outcome), /^Destination has not answered PING 5 for 0.3 s/);
    await source.close();
    await played;
    assertEquals(guest.calls, []);
  }),
);

Deno.test(
  "LiveSource hears that the guest was loaded also behind a request that fails the migration",
  leavingNoDescriptors(async () => {
    using region = smallRegion();
    const guest = new RecordedGuest();
    using destination = await HostileDestination.listen({
      loading: (say) => say.requestPages("no such block", 0, 4096),
    });
    await using source = new LiveSource(region, guest, {
      to: destination.address,
      postcopy: "now",
      recoverTimeout: 0,
      mode: "vanilla",
    });
    const outcome = source.run().then(() => "", (error) => error.message);
    await within("the source to hang up", destination.play());
    destination[Symbol.dispose]();
    assertMatch(
      await within("the end", outcome),
      /^Destination asked for pages that are not there: .*: the guest was loaded at the destination/,
    );
    assertEquals(guest.calls, ["stop", "save"]);
  }),
);
