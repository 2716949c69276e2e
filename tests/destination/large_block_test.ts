import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { type Backing, viewMemory } from "../../ffi/memory.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { ScriptedMemory } from "./scripted_memory.ts";

await keepThreads(...DESTINATION);

const PAGE = 4096;
const SECTION = 2;
/** Pages of a GiB, as much as the destination sees at a time. */
const GIB = 2 ** 18;
/** One block of two GiB and a bit. Only the pages that are sent exist. */
const PAGES = 2 * GIB + 8;
const BACKINGS: readonly Backing[] = ["anonymous", "memfd"];

/** Pages of the first GiB, and those that lie one and two GiB above them. */
const LOW = [0, 3, 7, GIB - 1];
const HIGH = [...LOW.map((page) => GIB + page), 2 * GIB, 2 * GIB + 3, PAGES - 1];

/** A page's content in some version, like no other's; version 0 is zero. */
function content(page: number, version: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(PAGE / 4);
  if (version > 0) words.fill((version << 20) + page + 1);
  return new Uint8Array(words.buffer);
}

/** A destination of one large block, whose source is about to send pages. */
async function arrange(backing: Backing, stack: AsyncDisposableStack): Promise<{
  destination: Destination;
  guest: StillGuest;
  source: HostileSource;
}> {
  const guest = new StillGuest();
  const destination = stack.use(new Destination({ guest, backing }));
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES }));
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  return { destination, guest, source };
}

/** Encodes a section of pages. */
function encode(
  { stream }: HostileSource,
  pages: readonly number[],
  each: (stream: HostileSource["stream"], page: number) => void,
): void {
  stream.sectionPart(SECTION);
  stream.block("ram");
  for (const page of pages) each(stream, page);
  stream.endOfSection();
  stream.sectionFooter(SECTION);
}

/** Encodes a section of pages as they are in some version. */
function write(source: HostileSource, pages: readonly number[], version: number): void {
  encode(source, pages, (stream, page) => {
    if (version === 0) stream.zeroPage(page * PAGE, 0);
    else stream.page(page * PAGE, content(page, version), 0);
  });
}

function assertPage(guest: StillGuest, page: number, expected: Uint8Array): void {
  const found = viewMemory(guest.blocks[0]!.address + page * PAGE, PAGE);
  assertEquals(found, expected, `Page ${page}`);
}

/** Ways to send a page again whose version is 1, and what it is then. */
const AGAIN: Record<
  string,
  { send: (source: HostileSource) => void; expected: (page: number) => Uint8Array }
> = {
  "as it is": {
    send: (source) => write(source, HIGH, 2),
    expected: (page) => content(page, 2),
  },
  "as zeros": {
    send: (source) => write(source, HIGH, 0),
    expected: (page) => content(page, 0),
  },
  "as a difference": {
    send: (source) =>
      encode(source, HIGH, (stream, page) => {
        const changed = Uint8Array.of(100, 12, ...content(page, 2).subarray(100, 112));
        stream.xbzrlePage(page * PAGE, changed, 0, changed.length);
      }),
    expected: (page) => {
      const bytes = content(page, 1);
      bytes.set(content(page, 2).subarray(100, 112), 100);
      return bytes;
    },
  },
};

for (const backing of BACKINGS) {
  for (const [how, { send, expected }] of Object.entries(AGAIN)) {
    Deno.test(
      `Destination with ${backing} memory replaces pages above 1 GiB of a block that come again ${how}`,
      leavingNoDescriptors(async () => {
        await using stack = new AsyncDisposableStack();
        const { destination, guest, source } = await arrange(backing, stack);
        write(source, [...LOW, ...HIGH], 1);
        send(source);
        new ScriptedMemory(source, {}).endPrecopy();
        await source.flush();
        await within("the end", destination.finished);
        for (const page of LOW) assertPage(guest, page, content(page, 1));
        for (const page of HIGH) assertPage(guest, page, expected(page));
        assertEquals(destination.statistics().received, LOW.length + HIGH.length);
      }),
    );
  }
}

for (const version of [0, 2]) {
  const what = version === 0 ? "zeros" : "data";
  Deno.test(
    `Destination with memfd memory fills pages above 1 GiB of a block that were discarded with ${what}`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source } = await arrange("memfd", stack);
      write(source, [...LOW, ...HIGH], 1);
      // They stay in the page cache, where the new content is written over the old.
      source.encodeSwitchover();
      await source.flush();
      await within("the guest to run", source.hear(({ pongs }) => pongs.includes(3)));
      assertEquals(destination.statistics().received, 0);
      write(source, LOW, 3);
      write(source, HIGH, version);
      await source.flush();
      const all = LOW.length + HIGH.length;
      await until("the pages", () => destination.statistics().received === all);
      for (const page of LOW) assertPage(guest, page, content(page, 3));
      for (const page of HIGH) assertPage(guest, page, content(page, version));
    }),
  );
}
