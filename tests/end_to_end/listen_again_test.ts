/** A source whose owner has the destination listen again, and hears from it how it stands. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION);

/** Pages of the image: more than any socket holds. */
const PAGES = { ram: 6000, rom: 96 };
/** Bytes of the main channel after which the guest runs and some pages have come. */
const SOME_BYTES = 3_000_000;

type ListenAgain = SourceOptions["listenAgain"] & object;

/** A migration whose connection was cut while the guest ran. */
interface Cut {
  readonly source: Source;
  readonly run: Promise<{ readonly status: string }>;
  readonly guest: StillGuest;
  readonly image: TestImage;
}

/** Cuts the connection of a migration; the first address leads nowhere from then on. */
async function afterCut(
  listenAgain: (destination: Destination, calls: number) => ReturnType<ListenAgain>,
  act: (cut: Cut) => Promise<void>,
): Promise<void> {
  using image = await TestImage.make(PAGES);
  using opened = await openImage(image.path);
  const guest = new StillGuest();
  await using destination = new Destination({ guest });
  await using stack = new AsyncDisposableStack();
  const relay = stack.use(await FaultRelay.start(await destination.listen(LOOPBACK)));
  const log = new StatusLog();
  let calls = 0;
  const options = {
    to: relay.address,
    onStatus: log.add,
    listenAgain: async () => {
      await destination.waitFor("postcopy-paused");
      return await listenAgain(destination, ++calls);
    },
  };
  await using source = new Source(opened, options);
  let held: Promise<void> | undefined;
  relay.next((main) => held = main.holdAt(SOME_BYTES));
  const run = source.run();
  run.catch(() => {});
  await within("the connections", relay.came(2));
  await within("some pages", held!);
  await within("the guest to run", destination.waitFor("postcopy-active"));
  await stack.disposeAsync();
  await within("the pause", Promise.race([log.reached("postcopy-paused"), run]));
  await act({ source, run, guest, image });
}

const goesOn = async ({ run, guest, image }: Cut): Promise<void> => {
  assertEquals((await within("the source to complete", run)).status, "completed");
  image.assertEqualMemory(guest.blocks);
};

Deno.test(
  "Source connects where its owner had the destination listen again",
  leavingNoDescriptors(() => {
    let elsewhere: SocketAddress | undefined;
    return afterCut(
      async (destination) => elsewhere = await destination.recover(LOOPBACK),
      async (cut) => {
        await goesOn(cut);
        assertEquals(elsewhere?.transport, "tcp");
      },
    );
  }),
);

Deno.test(
  "Source tries on when its owner could not have the destination listen",
  leavingNoDescriptors(() =>
    afterCut(async (destination, calls) => {
      if (calls === 1) throw new Error("no monitor");
      if (calls === 2) return undefined;
      if (calls === 3) return "not-yet";
      return await destination.recover(LOOPBACK);
    }, goesOn)
  ),
);

Deno.test(
  "Source is done when its owner hears that the destination has everything",
  leavingNoDescriptors(() =>
    afterCut(() => Promise.resolve("completed"), async ({ run }) => {
      assertEquals((await within("the source to complete", run)).status, "completed");
    })
  ),
);

Deno.test(
  "Source keeps a guest that runs although its owner hears that the destination failed",
  leavingNoDescriptors(() =>
    // It runs there, and lacks pages that only this end has: it is gone on with once it can be.
    afterCut(
      async (destination, calls) => calls === 1 ? "failed" : await destination.recover(LOOPBACK),
      goesOn,
    )
  ),
);

Deno.test(
  "Source ends by its signal while its owner speaks to the destination",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: 16, rom: 16 });
    using opened = await openImage(image.path);
    const abort = new AbortController();
    const called = Promise.withResolvers<void>();
    await using source = new Source(opened, {
      to: { transport: "unix", path: "/nowhere/at/all" },
      recover: true,
      signal: abort.signal,
      listenAgain: () => {
        called.resolve();
        return new Promise(() => {});
      },
    });
    const run = source.run();
    run.catch(() => {});
    await within("the call", called.promise);
    abort.abort(new MigrationError("CANCELLED", "Enough"));
    await assertRejects(() => run, MigrationError, "Enough");
  }),
);
