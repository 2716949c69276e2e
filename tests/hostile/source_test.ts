import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { Listener } from "../../ffi/listener.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { keepThreads, SOURCE } from "../support/kept_threads.ts";
import { assertEachPageOnce, LOOPBACK, migrate } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileDestination, type Manners, POINTS } from "./scripted_destination.ts";

await keepThreads(...SOURCE);

/** More than two sockets hold between them. */
const PAGES = 6144;

/** Runs a source until it fails, and sees that the image can be served again. */
async function failureOf(
  image: TestImage,
  to: SocketAddress,
  options: Partial<SourceOptions> = {},
): Promise<Error & { readonly code?: string }> {
  using opened = await openImage(image.path);
  // What would only pause it is to be told at once.
  await using source = new Source(opened, { to, recoverTimeout: 0, ...options });
  const failed = source.run().catch((error) => error);
  const outcome = await within(
    "the source to fail",
    failed,
    20_000 + 3 * (options.stallTimeout ?? 0),
  );
  assertInstanceOf(outcome, Error, "The source did not fail");
  assertEquals(source.statistics().status, "failed");
  image.assertUntouched();
  return outcome;
}

/** What is said of a destination that takes nothing: who notices first, the sender or the kernel. */
function takesNothing(seconds: string): RegExp {
  const sender = `has taken nothing on the (?:main|preempt) channel for ${seconds} s`;
  return new RegExp(`^Destination (?:${sender}|went away: .*: ETIMEDOUT: no sign of life)`);
}

Deno.test(
  "Source hands no guest over to a destination that takes all and says nothing",
  leavingNoDescriptors(async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    using image = await TestImage.make({ ram: 8 });
    using opened = await openImage(image.path);
    await using source = new Source(opened, {
      to: { transport: "tcp", host: "127.0.0.1", port },
      mode: "vanilla",
      stallTimeout: 300,
    });
    const failed = source.run().then(() => undefined, (error) => error);
    const error = await within("the source to fail", failed);
    assertEquals(error?.code, "STALLED", `${error?.stack}`);
    assertEquals([source.status, source.ranNowhere], ["failed", true]);
  }),
);

function hostileTest(
  name: string,
  manners: Manners,
  act: (destination: HostileDestination) => Promise<void>,
  expected: { code: string; message: RegExp },
  options: Partial<SourceOptions> = {},
): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: PAGES });
      using destination = await HostileDestination.listen(manners);
      const acted = act(destination);
      const error = await failureOf(image, destination.address, options);
      await within("the destination's part to end", acted);
      assertMatch(error.message, expected.message);
      assertEquals(error.code, expected.code);
    }),
  );
}

/**
 * A test of a destination that falls silent. On a busy machine it may take longer to get there than the
 * source has patience, which then says so of an earlier point: with ten times the patience it must not.
 */
function silentTest(
  name: string,
  manners: Manners,
  act: (destination: HostileDestination) => Promise<void>,
  message: (seconds: string) => RegExp,
  options: Partial<SourceOptions> = {},
): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: PAGES });
      for (const stallTimeout of [300, 3000, 30_000]) {
        using destination = await HostileDestination.listen(manners);
        const acted = act(destination).then(() => "", ({ message }) => message);
        const error = await failureOf(image, destination.address, { ...options, stallTimeout });
        const missed = await within("the destination's part to end", acted);
        assertEquals(error.code, "STALLED", error.message);
        const expected = message(`${stallTimeout / 1000}`);
        if (missed === "" && expected.test(error.message)) return;
        if (stallTimeout < 30_000) continue;
        assertEquals(missed, "");
        assertMatch(error.message, expected);
      }
    }),
  );
}

Deno.test(
  "Source says where nobody listens, and serves the same image afterwards",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: 256 });
    const listener = await Listener.listen(LOOPBACK);
    const { address } = listener;
    listener.close();
    const error = await failureOf(image, address);
    assertMatch(error.message, /^connect failed with ECONNREFUSED: to tcp:127.0.0.1:\d+: see that/);
    const guest = new StillGuest();
    await migrate(image.path, { guest }, (migrated) => {
      assertEachPageOnce(migrated);
      image.assertEqualMemory(guest.blocks);
    });
  }),
);

for (const mode of MODES) {
  for (const point of POINTS) {
    hostileTest(
      `Source in mode ${mode} fails when the destination vanishes at: ${point}`,
      {},
      async (destination) => {
        await destination.play(point);
        destination[Symbol.dispose]();
      },
      {
        code: "CONNECTION_LOST",
        message: /^Destination (?:went away|does not take the preempt channel): /,
      },
      { mode },
    );
  }
}

for (const point of POINTS) {
  hostileTest(
    `Source fails when the destination sends garbage at: ${point}`,
    {},
    async (destination) => {
      await destination.play(point);
      await destination.send(new Uint8Array([0xff, 0xff, 0x12, 0x34, 0x56]));
      await destination.play();
    },
    { code: "bad-message", message: /return path/ },
  );

  hostileTest(
    `Source fails when the destination reports a failure at: ${point}`,
    {},
    async (destination) => {
      await destination.play(point);
      destination.say.shut(1);
      await destination.send(destination.say.take());
      await destination.play();
    },
    { code: "PEER_FAILED", message: /^Destination reports a failure: SHUT 1/ },
  );
}

hostileTest(
  "Source prefers the destination's own report to the broken connection behind it",
  {},
  async (destination) => {
    await destination.play("pages");
    destination.say.shut(1);
    await destination.send(destination.say.take());
    destination[Symbol.dispose](); // with bytes unread: a reset
  },
  { code: "PEER_FAILED", message: /^Destination reports a failure: SHUT 1/ },
);

hostileTest(
  "Source fails when the destination says it has everything too early",
  {},
  async (destination) => {
    await destination.play("package");
    destination.say.shut(0);
    await destination.send(destination.say.take());
    await destination.play();
  },
  { code: "PEER_FAILED", message: /^Destination ended the migration before all pages were sent/ },
);

const BAD_REQUESTS: readonly [string, string, number, number][] = [
  ["an unknown block", "nosuch", 0, 4096],
  ["a page behind the block's end", "ram", PAGES * 4096, 4096],
  ["pages that reach over the block's end", "ram", (PAGES - 1) * 4096, 8192],
  ["a misaligned page", "ram", 512, 4096],
  ["a part of a page", "ram", 0, 100],
  ["an address far outside", "ram", 2 ** 52, 4096],
  ["more than any host page", "ram", 0, 0xffff_f000],
];
for (const mode of MODES) {
  for (const [what, block, start, length] of BAD_REQUESTS) {
    hostileTest(
      `Source in mode ${mode} fails when the destination asks for ${what}`,
      {},
      async (destination) => {
        await destination.play("package");
        destination.say.requestPages(block, start, length);
        await destination.send(destination.say.take());
        await destination.play();
      },
      { code: "BAD_PEER", message: /^Destination asked for pages that are not there: block / },
      { mode },
    );
  }
}

hostileTest(
  "Source fails when the destination asks for a page before the preempt channel is open",
  { pongs: false },
  async (destination) => {
    await destination.play("connected");
    destination.say.requestPages("ram", 0, 4096);
    await destination.send(destination.say.take());
    await destination.play();
  },
  { code: "BAD_PEER", message: /before the guest was handed over/ },
);

hostileTest(
  "Source fails when the destination sends a receive bitmap that nobody asked for",
  {},
  async (destination) => {
    await destination.play("package");
    destination.say.receivedBitmap("ram", 64);
    await destination.send(destination.say.take());
    await destination.play();
  },
  { code: "BAD_PEER", message: /receive bitmap that nobody asked for: block ram/ },
);

hostileTest(
  "Source fails when the destination resumes what was not paused",
  {},
  async (destination) => {
    await destination.play("package");
    destination.say.resumeAck(1);
    await destination.send(destination.say.take());
    await destination.play();
  },
  { code: "BAD_PEER", message: /resumes what was not paused/ },
);

for (const mode of MODES) {
  silentTest(
    `Source in mode ${mode} gives up on a destination that stops reading`,
    { receiveBuffer: 4096 },
    (destination) => destination.play("pages"),
    takesNothing,
    { mode },
  );

  silentTest(
    `Source in mode ${mode} gives up on a destination that reads everything and says nothing`,
    { pongs: false },
    (destination) => destination.play(),
    () => /^Destination has not /,
    { mode },
  );

  silentTest(
    `Source in mode ${mode} gives up on a destination that never confirms the end`,
    {},
    (destination) => destination.play(),
    (seconds) => new RegExp(`^Destination has not confirmed the end for ${seconds} s`),
    { mode },
  );

  silentTest(
    `Source in mode ${mode} gives up on a destination that floods the return path with requests`,
    { receiveBuffer: 4096 },
    async (destination) => {
      await destination.play("pages");
      // The same pages again and again, more than the ring of requests holds, and nothing is read.
      for (let round = 0; round < 8; round++) {
        for (let page = 0; page < PAGES; page++) {
          destination.say.requestPages("ram", page * 4096, 4096);
        }
        await destination.send(destination.say.take());
      }
    },
    takesNothing,
    { mode },
  );
}

silentTest(
  "Source gives up on a destination that connects and does nothing at all",
  { receiveBuffer: 4096 },
  (destination) => destination.play("connected"),
  (seconds) => new RegExp(`^Destination has not answered PING 6 for ${seconds} s`),
);

hostileTest(
  "Source survives a flood of PONGs that answer nothing",
  {},
  async (destination) => {
    await destination.play("package");
    for (let round = 0; round < 20; round++) {
      for (let value = 0; value < 5000; value++) destination.say.pong(round * 5000 + value);
      await destination.send(destination.say.take());
    }
    destination[Symbol.dispose]();
  },
  { code: "CONNECTION_LOST", message: /^Destination went away: / },
);

Deno.test(
  "Source survives random bytes on the return path at random points",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: 512 });
    const random = new Random(2024);
    for (let round = 0; round < 20; round++) {
      using destination = await HostileDestination.listen();
      const point = random.pick(POINTS);
      const mode = random.pick(MODES);
      const bytes = random.bytes(random.between(6, 3000));
      bytes[0] = random.below(2); // types of messages are small numbers
      const acted = (async () => {
        await destination.play(point).catch(() => {});
        await destination.send(bytes);
        destination[Symbol.dispose]();
      })();
      await failureOf(image, destination.address, { mode, stallTimeout: 2000 });
      await within("the destination's part to end", acted);
    }
  }),
);

Deno.test(
  "Source rejects when it is closed while it runs",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: PAGES });
    for (const point of POINTS.slice(0, 4)) {
      using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
      using opened = await openImage(image.path);
      await using source = new Source(opened, { to: destination.address });
      const run = source.run().then(() => "completed", (error) => error.code);
      await within(point, destination.play(point));
      await within("the source to close", source.close());
      assertEquals(await within("the run to end", run), "CANCELLED");
    }
  }),
);

Deno.test(
  "Source rejects with the signal's reason when it is aborted at any point",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: PAGES });
    for (const point of POINTS.slice(0, 4)) {
      using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
      using opened = await openImage(image.path);
      const abort = new AbortController();
      await using source = new Source(opened, { to: destination.address, signal: abort.signal });
      const run = source.run().then(() => "completed", (error) => error.message);
      await within(point, destination.play(point));
      abort.abort(new Error("Enough"));
      assertEquals(await within("the run to end", run), "Enough");
      assertEquals(source.status, "cancelled");
    }
  }),
);
