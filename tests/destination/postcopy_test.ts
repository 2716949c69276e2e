import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { type Backing, discardMemory } from "../../ffi/memory.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import type { Touch } from "../hostile/touching_worker.ts";
import { ScriptedMemory } from "./scripted_memory.ts";

await keepThreads(...DESTINATION);

const PAGES = 64;
const ALL: readonly number[] = Array.from({ length: PAGES }, (_, page) => page);
const BACKINGS: readonly Backing[] = ["anonymous", "memfd"];

/** Reads a word of a page on a thread of its own. */
class Toucher implements Disposable {
  readonly #result = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;

  constructor(guest: StillGuest, page: number) {
    this.#worker = new Worker(new URL("../hostile/touching_worker.ts", import.meta.url), {
      type: "module",
    });
    const address = guest.blocks[0]!.address + page * 4096;
    this.#worker.postMessage({ address, result: this.#result.buffer } satisfies Touch);
  }

  /** What it found. */
  async found(): Promise<number> {
    await until("the page to be read", () => Atomics.load(this.#result, 0) === 2);
    return this.#result[1]!;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** A destination whose guest runs, after what precopy sent. */
async function running(
  backing: Backing,
  stack: AsyncDisposableStack,
  precopy: (memory: ScriptedMemory) => void = () => {},
): Promise<{
  destination: Destination;
  guest: StillGuest;
  source: HostileSource;
  memory: ScriptedMemory;
}> {
  const guest = new StillGuest();
  const destination = stack.use(new Destination({ guest, backing }));
  const blocks = { ram: PAGES };
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), blocks));
  const memory = new ScriptedMemory(source, blocks);
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  precopy(memory);
  memory.switchOver();
  await source.flush();
  await within("the guest to run", source.hear(({ pongs }) => pongs.includes(3)));
  return { destination, guest, source, memory };
}

for (const backing of BACKINGS) {
  Deno.test(
    `Destination with ${backing} memory asks for a page that was discarded, and for no other`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await running(backing, stack, (memory) => {
        memory.write(ALL, 1);
        memory.discard([7, 9]);
      });
      using here = new Toucher(guest, 8);
      assertEquals(await here.found(), (1 << 20) + 8);
      using gone = new Toucher(guest, 7);
      await within("the request", source.hear(({ requests }) => requests.length > 0));
      await source.connectPreempt();
      memory.write([7], 2);
      source.stream.take(); // it goes the other way
      memory.encode(source.records, 7);
      await source.flushPreempt();
      assertEquals(await gone.found(), (2 << 20) + 7);
      assertEquals(source.heard.requests, [{ block: "ram", start: 7 * 4096, length: 4096 }]);
      memory.send([9]);
      source.encodeEnd();
      await source.flush();
      await within("the end", destination.finished);
      memory.assertEqual(guest.blocks);
      assertEquals(destination.statistics().requests, 1);
    }),
  );

  Deno.test(
    `Destination with ${backing} memory keeps pages in place when either channel brings them again`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await running(backing, stack, (memory) => {
        memory.write(ALL.slice(0, 20), 1);
      });
      const other = new ScriptedMemory(source, { ram: PAGES });
      other.write(ALL.slice(0, 30), 9); // 20 of them are there
      memory.bytes.set(other.bytes.subarray(20 * 4096, 30 * 4096), 20 * 4096);
      other.write(ALL.slice(10, 25), 0); // zeros over data
      await source.flush();
      await until("the pages", () => destination.statistics().duplicates === 35);
      await source.connectPreempt();
      for (const page of ALL.slice(0, 30)) other.encode(source.records, page);
      await source.flushPreempt();
      await until("the duplicates", () => destination.statistics().duplicates === 65);
      memory.write(ALL.slice(30), 2);
      source.encodeEnd();
      await source.flush();
      await within("the end", destination.finished);
      memory.assertEqual(guest.blocks);
    }),
  );
}

for (const left of [false, true]) {
  const when = left ? "even when the source is gone" : "without asking for it again";
  Deno.test(
    `Destination with memfd memory maps a page again that the kernel unmapped, ${when}`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await running("memfd", stack);
      memory.write([5], 3);
      await source.flush();
      await until("the page", () => destination.statistics().received === 1);
      if (left) {
        await within("the guest to start", destination.waitFor("postcopy-active"));
        source[Symbol.dispose]();
        await within("the pause", destination.waitFor("postcopy-paused"));
      }
      // As when it is swapped out: out of the page table, not out of the memfd.
      discardMemory(guest.blocks[0]!.address + 5 * 4096, 4096, false);
      using toucher = new Toucher(guest, 5);
      assertEquals(await toucher.found(), (3 << 20) + 5);
      const { requests, faults } = destination.statistics();
      assertEquals({ requests, faults }, { requests: 0, faults: 1 });
    }),
  );
}

/** Sends one bad page before the switch, or a good one behind it; returns why the destination gave up. */
async function refusal(
  listening: boolean,
  bad: (source: HostileSource) => void,
): Promise<Error> {
  await using stack = new AsyncDisposableStack();
  const destination = stack.use(new Destination({ guest: new StillGuest() }));
  const blocks = { ram: PAGES };
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), blocks));
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  if (listening) {
    new ScriptedMemory(source, blocks).switchOver();
    await source.flush();
    await within("the guest to run", source.hear(({ pongs }) => pongs.includes(3)));
    await within("the guest to start", destination.waitFor("postcopy-active"));
  }
  source.stream.sectionPart(2);
  source.stream.block("ram");
  bad(source);
  source.stream.endOfSection();
  await source.flush();
  const failed = destination.finished.then(() => new Error("It completed"), (error) => error);
  const paused = destination.waitFor("postcopy-paused").then(
    () => destination.pauseReason!,
    (error) => error,
  );
  return await within("the destination to give up", Promise.race([failed, paused]));
}

Deno.test("Destination says which difference cannot be decoded", async () => {
  const rubbish = new Uint8Array(20).fill(0xff);
  const xbzrle = await refusal(false, ({ stream }) => stream.xbzrlePage(8192, rubbish, 0, 20));
  assertMatch(xbzrle.message, /^Page of RAM block ram at 8192 cannot be decoded: .*XBZRLE/);
});

Deno.test("Destination refuses differences after the switch", async () => {
  const bytes = Uint8Array.of(0, 1, 7);
  const xbzrle = await refusal(true, ({ stream }) => stream.xbzrlePage(8192, bytes, 0, 3));
  assertMatch(xbzrle.message, /^Source sends XBZRLE pages after the switch to postcopy/);
});
