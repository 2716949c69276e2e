import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import type { Backing } from "../../ffi/memory.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { ScriptedMemory } from "./scripted_memory.ts";

await keepThreads(...DESTINATION);

const BLOCKS = { ram: 600, rom: 40 };
const BACKINGS: readonly Backing[] = ["anonymous", "memfd"];

/** A destination, its guest, and a source that has announced its blocks. */
async function arrange(backing: Backing, stack: AsyncDisposableStack): Promise<{
  destination: Destination;
  guest: StillGuest;
  source: HostileSource;
  memory: ScriptedMemory;
}> {
  const guest = new StillGuest();
  const destination = stack.use(new Destination({ guest, backing }));
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), BLOCKS));
  const memory = new ScriptedMemory(source, BLOCKS);
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  return { destination, guest, source, memory };
}

function some(random: Random, pages: number): number[] {
  return Array.from({ length: pages }, (_, page) => page).filter(() => random.oneIn(3));
}

/** Fails with EBUSY while the memory is registered. */
function assertUnregistered(guest: StillGuest): void {
  using uffd = new Userfaultfd({ features: UffdFeature.MISSING_SHMEM });
  for (const { address, length } of guest.blocks) {
    uffd.register(address, length, RegisterMode.MISSING);
    uffd.unregister(address, length);
  }
}

for (const backing of BACKINGS) {
  Deno.test(
    `Destination with ${backing} memory has the last content of every page after precopy`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await arrange(backing, stack);
      const random = new Random(5);
      memory.write(Array.from({ length: memory.pages }, (_, page) => page), 1);
      for (const version of [2, 0, 3]) memory.write(some(random, memory.pages), version);
      memory.endPrecopy();
      await source.flush();
      await within("the end", destination.finished);
      memory.assertEqual(guest.blocks);
      assertEquals(destination.statistics().received, memory.pages);
      assertUnregistered(guest);
    }),
  );

  Deno.test(
    `Destination with ${backing} memory reads zeros where precopy sent nothing`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await arrange(backing, stack);
      memory.write([3, 4, 5, 599, 639], 1);
      memory.endPrecopy();
      await source.flush();
      await within("the end", destination.finished);
      memory.assertEqual(guest.blocks);
    }),
  );

  Deno.test(
    `Destination with ${backing} memory has every byte after precopy, discards and postcopy`,
    leavingNoDescriptors(async () => {
      for (let seed = 0; seed < 4; seed++) {
        await using stack = new AsyncDisposableStack();
        const { destination, guest, source, memory } = await arrange(backing, stack);
        const random = new Random(seed);
        const sent = new Set<number>();
        for (let round = 1; round < 5; round++) {
          const pages = some(random, memory.pages);
          memory.write(pages, random.oneIn(3) ? 0 : round);
          for (const page of pages) sent.add(page);
          const gone = some(random, memory.pages).filter(() => random.oneIn(4));
          memory.discard(gone);
          for (const page of gone) sent.delete(page);
          await source.flush();
        }
        memory.switchOver();
        await source.flush();
        await within("the guest to run", source.hear(({ pongs }) => pongs.includes(3)));
        assertEquals(destination.statistics().received, sent.size);
        await source.connectPreempt();
        const rest = Array.from({ length: memory.pages }, (_, page) => page)
          .filter((page) => !sent.has(page));
        const urgent = rest.filter((page) => page % 2 === 0);
        for (const page of urgent) memory.encode(source.records, page);
        await source.flushPreempt();
        // Nobody asked for them: the end of the main channel must not come first.
        const here = sent.size + urgent.length;
        await until("the urgent pages", () => destination.statistics().received === here);
        memory.send(rest.filter((page) => page % 2 === 1));
        source.encodeEnd();
        await source.flush();
        await within("the end", destination.finished);
        memory.assertEqual(guest.blocks);
        assertEquals(destination.statistics().duplicates, 0);
        assertUnregistered(guest);
      }
    }),
  );

  Deno.test(
    `Destination with ${backing} memory forgets thousands of small ranges, whether they came or not`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const guest = new StillGuest();
      const destination = stack.use(new Destination({ guest, backing }));
      const blocks = { ram: 8192 };
      const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), blocks));
      const memory = new ScriptedMemory(source, blocks);
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      const all = Array.from({ length: 8192 }, (_, page) => page);
      memory.write(all.filter((page) => page < 6000), 1);
      memory.discard(all.filter((page) => page % 2 === 0));
      memory.discard(all.filter((page) => page % 8 === 0)); // and again
      memory.discard(all.filter((page) => page >= 5000));
      memory.write(all.slice(100, 110), 2); // before the switch, and so over what was dropped
      memory.switchOver();
      await source.flush();
      await within("the guest to run", source.hear(({ pongs }) => pongs.includes(3)));
      const here = all.filter((page) =>
        (page % 2 === 1 && page < 5000) || (page >= 100 && page < 110)
      );
      assertEquals(destination.statistics().received, here.length);
      const there = new Set(here);
      const rest = all.filter((page) => !there.has(page));
      memory.write(rest, 3);
      source.encodeEnd();
      await source.flush();
      await within("the end", destination.finished);
      assertEquals(destination.statistics().duplicates, 0);
      memory.assertEqual(guest.blocks);
    }),
  );

  Deno.test(
    `Destination with ${backing} memory decodes compressed pages and differences before LISTEN`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await arrange(backing, stack);
      const all = Array.from({ length: memory.pages }, (_, page) => page);
      memory.write(all.slice(0, 500), 1);
      memory.write(all.slice(200, 400), 2, "zlib");
      memory.write(all.slice(500, 550), 3, "zlib"); // for the first time
      memory.write(all.slice(300, 310), 0);
      memory.writeDifference(all.slice(100, 320), 4);
      memory.writeDifference(all.slice(590, 639), 5); // never sent: to zeros
      memory.discard(all.slice(130, 140));
      memory.endPrecopy();
      memory.bytes.fill(0, 130 * 4096, 140 * 4096);
      await source.flush();
      await within("the end", destination.finished);
      memory.assertEqual(guest.blocks);
    }),
  );
}

Deno.test(
  "Destination runs a guest whose source describes nothing and waits for the answer",
  leavingNoDescriptors(async () => {
    await using stack = new AsyncDisposableStack();
    const { destination, guest, source, memory } = await arrange("anonymous", stack);
    memory.write(Array.from({ length: memory.pages }, (_, page) => page), 1);
    memory.endPrecopy(false);
    await source.flush();
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [0]);
    await within("the end", destination.finished);
    memory.assertEqual(guest.blocks);
  }),
);

Deno.test(
  "Destination starts no guest whose memory came inside a section that it cannot take",
  leavingNoDescriptors(async () => {
    await using stack = new AsyncDisposableStack();
    const { destination, guest, source, memory } = await arrange("anonymous", stack);
    source.stream.sectionStart(9, "dirty-bitmap", 0, 1);
    source.stream.sectionFooter(9);
    memory.write(Array.from({ length: memory.pages }, (_, page) => page), 1);
    memory.endPrecopy();
    await source.flush();
    const error = await within(
      "the refusal",
      destination.finished.then(() => undefined, (error) => error),
    );
    assertEquals([error?.code, guest.blocks.length], ["UNSUPPORTED", 0]);
    assertMatch(error.message, /: dirty-bitmap: turn the capability dirty-bitmaps off/);
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts.includes(0), false);
  }),
);
