/** Pages that an image does not hold: who gets them, and when. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { makeCapture, PAGE, part, testPage, withDirectory } from "../image/captures.ts";
import { makeMappedRam } from "../image/mapped_ram_files.ts";
import { within } from "../support/deadline.ts";

const PAGES = 300;
/** Every third page is in the image. */
const HELD = PAGES / 3;

/** Writes an image of either kind that can tell; returns its memory. */
async function write(kind: "capture" | "mapped-ram", path: string): Promise<Uint8Array> {
  const memory = new Uint8Array(PAGES * PAGE);
  const stored = new Map<number, Uint8Array>();
  for (let page = 0; page < PAGES; page += 3) stored.set(page, testPage(page));
  for (const [page, bytes] of stored) memory.set(bytes, page * PAGE);
  const bytes = kind === "mapped-ram"
    ? makeMappedRam({ blocks: [{ name: "ram", pages: PAGES, stored }] }).bytes
    : makeCapture(
      { blocks: [{ name: "ram", usedLength: memory.length }] },
      (encoder) =>
        part(encoder, () => {
          encoder.block("ram");
          for (const [page, bytes] of stored) encoder.page(page * PAGE, bytes, 0);
        }),
    );
  await Deno.writeFile(path, bytes);
  return memory;
}

for (const kind of ["capture", "mapped-ram"] as const) {
  for (const mode of MODES) {
    Deno.test(`Source in mode ${mode} sends a QEMU no page unasked that a ${kind} image lacks`, async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const memory = await write(kind, path);
        using image = await openImage(path);
        using destination = await ScriptedHugeDestination.listen(image.layout, memory);
        await using source = new Source(image, {
          to: destination.address,
          mode,
          recoverTimeout: 0,
        });
        const run = source.run();
        run.catch(() => {});
        const playing = destination.play(mode !== "vanilla");
        playing.catch(() => {});
        await within("the end", destination.when(() => destination.ended));
        assertEquals(destination.received, HELD);
        assertEquals(source.statistics().ram.remaining, 0);
        if (mode !== "vanilla") {
          // As a QEMU does whose guest touches it just then.
          await destination.ask("ram", PAGE, PAGE);
          await within("the page", destination.when(() => destination.received === HELD + 1));
        }
        await source.close();
        await playing;
      });
    });
  }

  Deno.test(`Source sends a destination of ours of before every page that a ${kind} image lacks`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      const memory = await write(kind, path);
      using image = await openImage(path);
      using destination = await ScriptedHugeDestination.listen(image.layout, memory);
      destination.understands = ["zstd", "compress-postcopy"];
      await using source = new Source(image, { to: destination.address });
      const run = source.run();
      const playing = destination.play(true);
      const { ram } = await within("the end", run);
      await playing;
      assertEquals([ram.normal, ram.duplicate, ram.remaining], [HELD, PAGES - HELD, 0]);
      assert(destination.complete);
    });
  });
}
