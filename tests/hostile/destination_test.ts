import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { Socket } from "../../ffi/socket.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { assertEachPageOnce, LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { outcomeOf, PAGES } from "./outcome.ts";
import { HostileSource, PATTERN } from "./scripted_source.ts";

await keepThreads(...DESTINATION);

Deno.test(
  "Destination tells the source why when the guest cannot be loaded",
  leavingNoDescriptors(async () => {
    for (const method of ["load", "start"] as const) {
      const guest = new StillGuest();
      guest[method] = () => {
        throw new Error("No such device");
      };
      await using destination = new Destination({ guest });
      const to = await destination.listen(LOOPBACK);
      using image = await TestImage.make({ ram: 2048 });
      using opened = await openImage(image.path);
      await using source = new Source(opened, { to });
      const failed = destination.finished.catch((error) => error);
      const error = await within("the source to fail", source.run().catch((error) => error));
      assertMatch(error.message, /^Destination reports a failure: SHUT 1/);
      assertMatch((await failed).message, /^Guest cannot run here: No such device$/);
    }
  }),
);

Deno.test(
  "Destination keeps the first content of a page that comes twice",
  leavingNoDescriptors(async () => {
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    using source = new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES });
    await source.connect();
    await source.switchOver();
    const all = Array.from({ length: PAGES }, (_, page) => page);
    source.encodePages(all.slice(0, 50));
    source.encodePages(all.slice(0, 50), 1);
    source.encodePages(all.slice(50));
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
    assertEquals(destination.statistics().duplicates, 50);
    assertEquals(destination.statistics().received, PAGES);
    const expected = new Int32Array(PAGES * 1024);
    const pattern = new TestPattern(PATTERN);
    for (const page of all) pattern.expectedPage(page, expected, page * 1024);
    assertEquals(guest.words(), expected);
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [0]);
  }),
);

for (const mode of MODES) {
  Deno.test(
    `Destination in mode ${mode} lets port scanners and silent connections be, and refuses a second source`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: 1024 });
      const guest = new StillGuest((guest) => guest.words()[1023 * 1024]);
      await using destination = new Destination({ guest });
      const to = await destination.listen(LOOPBACK);
      using stack = new DisposableStack();
      const connect = async () => stack.use(await Socket.connect(to));
      await connect(); // says nothing, and stays
      (await connect()).close();
      await (await connect()).sendAll(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
      await (await connect()).sendAll(new Uint8Array([0x51])); // not even a whole magic
      using opened = await openImage(image.path);
      await using source = new Source(opened, { to, mode, maxPostcopyBandwidth: 8 << 20 });
      const sent = source.run();
      sent.catch(() => {}); // awaited below
      await within("the source to be heard", destination.waitFor("postcopy-active"));
      // Says nothing, while the migration runs; refused if the preempt channel is known already.
      await connect().catch(() => {});
      await using second = new Source(opened, { to, mode, stallTimeout: 5000 });
      const refused = await within("the second source", second.run().catch((error) => error));
      assertInstanceOf(refused, Error);
      assertMatch(refused.message, /Destination|ECONNREFUSED/);
      await within("the source to complete", sent);
      await within("the destination to complete", destination.finished);
      assertEachPageOnce({ source: await sent, destination: destination.statistics() });
      image.assertEqualMemory(guest.blocks);
    }),
  );
}

Deno.test(
  "Destination survives random bytes at random points",
  leavingNoDescriptors(async () => {
    const random = new Random(77);
    for (let round = 0; round < 30; round++) {
      const { status } = await outcomeOf(async (source) => {
        await source.connect();
        source.encodeAdvise();
        source.encodeBlocks();
        source.encodeSwitchover();
        source.encodePages([1, 2, 3, 4]);
        const bytes = source.stream.take();
        // It begins with the magic, or nobody listens; half of the time it ends before the pages.
        const at = random.between(4, random.oneIn(2) ? 400 : bytes.length);
        await source.flush(bytes.subarray(0, at));
        const garbage = random.bytes(random.between(1, 5000));
        await source.flush(garbage);
        source[Symbol.dispose]();
      });
      assertMatch(status, /^(?:failed|postcopy-paused)$/);
    }
  }),
);

Deno.test(
  "Destination can be closed at any point, and closing again does nothing",
  leavingNoDescriptors(async () => {
    await new Destination({ guest: new StillGuest() }).close();
    const steps: ((source: HostileSource) => Promise<void>)[] = [
      async () => {},
      (source) => source.connect(),
      (source) => (source.encodeAdvise(), source.flush()),
      (source) => (source.encodeBlocks(), source.flush()),
      (source) => (source.encodeSwitchover(), source.flush()),
      (source) => (source.encodePages([1, 2]), source.flush()),
    ];
    for (let last = 0; last < steps.length; last++) {
      const destination = new Destination({ guest: new StillGuest() });
      using source = new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES });
      for (const step of steps.slice(0, last + 1)) await step(source);
      const finished = destination.finished.then(() => "completed", (error) => error.code);
      await within("close", Promise.all([destination.close(), destination.close()]));
      await destination.close();
      assertEquals(await finished, "CANCELLED");
    }
  }),
);
