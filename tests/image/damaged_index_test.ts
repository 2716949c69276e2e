/** Reconstructed pages that were damaged in the index: made anew, or refused by name, never sent. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import { Destination } from "../../client/destination.ts";
import { ExitCode, exitCodeOf } from "../../server/command/command_line.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK, migrate } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assertMemory, makeCapture, PAGE, part, withDirectory } from "./captures.ts";
import { readMemory } from "./reference.ts";

/** A stream of pages that are all in the index, each filled with one byte. */
function filledPages(pages: number): Uint8Array {
  return makeCapture({ blocks: [{ name: "ram", usedLength: pages * PAGE }] }, (encoder) => {
    part(encoder, () => {
      encoder.block("ram");
      for (let page = 0; page < pages; page++) encoder.zeroPage(page * PAGE, 1 + page % 250);
    });
  });
}

/** Runs with an image of such a stream, and the place of the first page in its index. */
function withIndex(
  pages: number,
  test: (path: string, index: string, pagesOffset: number) => Promise<void>,
): () => Promise<void> {
  return () =>
    withDirectory(async (directory) => {
      const path = `${directory}/image`;
      await Deno.writeFile(path, filledPages(pages));
      using image = await openImage(path);
      assertEquals(image.index!.state, "built");
      assert(image.pages.kind === "table");
      const { pagesOffset, pagesCount } = image.pages.reconstructed;
      assertEquals(pagesCount, pages);
      await test(path, image.index!.path, pagesOffset);
    });
}

/** Changes one bit of a file. */
function flipBit(path: string, offset: number): void {
  using file = Deno.openSync(path, { read: true, write: true });
  const byte = new Uint8Array(1);
  file.seekSync(offset, Deno.SeekMode.Start);
  file.readSync(byte);
  byte[0]! ^= 0x10;
  file.seekSync(offset, Deno.SeekMode.Start);
  file.writeSync(byte);
}

/** Sees that one page is refused by name, and every other given as it is. */
function assertOneRefused(image: Image, damaged: number, index: string): void {
  const locator = new PageLocator(image.pages);
  for (let page = 0; page < image.layout.pageCount; page++) {
    if (page !== damaged) assertEquals(viewMemory(locator.locate(page), PAGE)[99], 1 + page % 250);
  }
  const { code, message } = assertThrows(() => locator.locate(damaged), MigrationError);
  assertEquals(code, "IMAGE_UNREADABLE");
  assertMatch(message, /^Reconstructed page that fails its checksum at byte \d+: /);
  assert(message.includes(`: ${index}: remove that file, it is made anew`), message);
}

Deno.test(
  "openImage makes an index anew whose reconstructed pages were damaged",
  withIndex(40, async (path, index, pagesOffset) => {
    for (const page of [0, 17, 39]) {
      flipBit(index, pagesOffset + page * PAGE + 99);
      using image = await openImage(path);
      assertEquals(image.index!.state, "built");
      assertMatch(image.index!.reason!, /^a reconstructed page fails its checksum$/);
      assertMemory(image, readMemory(await Deno.readFile(path)));
    }
  }),
);

Deno.test(
  "openImage makes an index anew whose checksums were damaged, however many there are",
  withIndex(5000, async (path, index, pagesOffset) => {
    flipBit(index, pagesOffset + 5000 * PAGE + 4999 * 4);
    using image = await openImage(path);
    assertEquals(image.index!.state, "built");
    assertEquals(image.index!.reason, "its checksums fail their own");
    new PageLocator(image.pages).locate(4999);
  }),
);

Deno.test(
  "PageLocator refuses a reconstructed page that was damaged after the index was opened",
  withIndex(40, async (path, index, pagesOffset) => {
    using image = await openImage(path);
    assertEquals(image.index!.state, "reused");
    flipBit(index, pagesOffset + 17 * PAGE + 4095);
    assertOneRefused(image, 17, index);
  }),
);

Deno.test(
  "PageLocator refuses a damaged page among more than are read when the index is opened",
  withIndex(5000, async (path, index, pagesOffset) => {
    flipBit(index, pagesOffset + 4999 * PAGE);
    using image = await openImage(path);
    assertEquals(image.index!.state, "reused"); // 20 MB of them: who had 64 GiB would wait long
    assertOneRefused(image, 4999, index);
    await Deno.remove(index);
    using again = await openImage(path);
    assertMemory(again, readMemory(await Deno.readFile(path)));
  }),
);

Deno.test(
  "Source fails, and names the index, rather than send a reconstructed page that was damaged",
  leavingNoDescriptors(withIndex(5000, async (path, index, pagesOffset) => {
    flipBit(index, pagesOffset + 3210 * PAGE + 7);
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    using image = await openImage(path);
    await using source = new Source(image, { to, recoverTimeout: 0 });
    const run = source.run();
    const error = await assertRejects(() => within("the source to fail", run), Error);
    assert(error.message.startsWith("Reconstructed page that fails its checksum"), error.message);
    assert(error.message.includes(index), error.message);
    assertEquals(exitCodeOf(error), ExitCode.BAD_IMAGE);
    assert(destination.statistics().received < 5000);
  })),
);

Deno.test(
  "Source sends every reconstructed page of an index that was opened again",
  leavingNoDescriptors(withIndex(5000, async (path) => {
    const guest = new StillGuest();
    await migrate(path, { guest }, () => {
      const bytes = viewMemory(guest.blocks[0]!.address, 5000 * PAGE);
      for (let page = 0; page < 5000; page++) assertEquals(bytes[page * PAGE + 7], 1 + page % 250);
    });
  })),
);
