import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import type { Reading, ReadingReport } from "./reading_worker.ts";
import { ScriptedMemory } from "./scripted_memory.ts";

await keepThreads(...DESTINATION);

const PAGES = 3000;
/** Pages sent on both channels at a time. */
const PIECE = 50;
const READERS = 2;

/** A guest of threads that read all pages at random from its start on. */
class ReadingGuest extends StillGuest {
  /** The word that each page was first seen to be full of. */
  readonly seen = new Int32Array(new SharedArrayBuffer(PAGES * 4));
  readonly #workers: Worker[] = [];
  readonly #reports: Promise<ReadingReport>[] = [];

  /** What the threads found wrong. */
  async failures(): Promise<string[]> {
    const reports = await within("all pages to be read", Promise.all(this.#reports));
    return reports.flatMap(({ failure }) => failure ?? []);
  }

  override start(): void {
    super.start();
    for (let seed = 0; seed < READERS; seed++) {
      const { promise, resolve } = Promise.withResolvers<ReadingReport>();
      const entry = new URL("./reading_worker.ts", import.meta.url);
      const worker = new Worker(entry, { type: "module" });
      worker.onmessage = ({ data }: MessageEvent<ReadingReport>) => resolve(data);
      const seen = this.seen.buffer;
      const reading: Reading = { address: this.blocks[0]!.address, pages: PAGES, seed, seen };
      worker.postMessage(reading);
      this.#workers.push(worker);
      this.#reports.push(promise);
    }
  }

  override stop(): void {
    super.stop();
    for (const worker of this.#workers) worker.terminate();
  }
}

/** Makes a zero page of every page, as a huge page's neighbours are: in the page cache, not received. */
function touchAll(guest: StillGuest): void {
  for (const { fd, length } of guest.blocks) {
    using other = MappedMemory.alias(fd, length);
    const bytes = other.bytes();
    for (let at = 0; at < length; at += 4096) bytes[at] = 0;
  }
}

const CASES: readonly { name: string; backing: Backing; touched: boolean }[] = [
  { name: "anonymous memory", backing: "anonymous", touched: false },
  { name: "a memfd", backing: "memfd", touched: false },
  { name: "a memfd whose pages are in the page cache as zeros", backing: "memfd", touched: true },
];

for (const { name, backing, touched } of CASES) {
  Deno.test(
    `Destination places each page of ${name} once, whole, when both channels bring it while it is read`,
    leavingNoDescriptors(async () => {
      const guest = new ReadingGuest();
      if (touched) {
        guest.load = (state, memory) => {
          StillGuest.prototype.load.call(guest, state, memory);
          touchAll(guest);
        };
      }
      await using destination = new Destination({ guest, backing });
      using source = new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES });
      const memory = new ScriptedMemory(source, { ram: PAGES });
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      memory.switchOver();
      await source.flush();
      await within("the guest to run", source.hear(({ pongs }) => pongs.includes(3)));
      await within("a request", source.hear(({ requests }) => requests.length > 0));
      await source.connectPreempt();
      const heard = source.hear(({ shuts }) => shuts.length > 0);
      const all = Array.from({ length: PAGES }, (_, page) => page);
      for (let piece = 0; piece < PAGES / PIECE; piece++) {
        const pages = all.slice(piece * PIECE, (piece + 1) * PIECE);
        // The same pages from both, with other content: in the same order, or towards each other.
        memory.write(pages, 1);
        source.stream.take();
        for (const page of piece % 4 < 2 ? pages : pages.toReversed()) {
          memory.encode(source.records, page);
        }
        memory.write(pages, 2);
        const flush = [() => source.flush(), () => source.flushPreempt()];
        if (piece % 2 === 1) flush.reverse();
        if (piece >= 2) await Promise.all(flush.map((channel) => channel()));
        // Each channel is first once for sure, whatever the scheduler makes of the others.
        else {
          await flush[0]!();
          const here = (piece + 1) * PIECE;
          await until("a piece", () => destination.statistics().received === here);
          await flush[1]!();
        }
      }
      // The end may overtake what is left on the preempt channel, of which no page is needed any more.
      await until("each page twice", () => destination.statistics().duplicates === PAGES);
      source.encodeEnd();
      await source.flush();
      await within("the end", destination.finished);
      await within("SHUT", heard);
      assertEquals(await guest.failures(), []);
      const { received, duplicates } = destination.statistics();
      assertEquals({ received, duplicates }, { received: PAGES, duplicates: PAGES });
      const words = guest.words();
      for (const page of all) {
        const word = guest.seen[page]!;
        assertEquals(words.subarray(page * 1024, (page + 1) * 1024).every((w) => w === word), true);
        assertEquals(word & 0xfffff, page);
      }
      assertEquals(new Set([...guest.seen].map((word) => word >>> 20)).size, 2);
    }),
  );
}
