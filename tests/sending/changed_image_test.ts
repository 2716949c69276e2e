/** The file of an image changes, or fails, while it is served: no wrong page, no confirmation, no SIGBUS. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { PING } from "../../server/sending/control_stream.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { makeCapture, part, withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { IMAGE_KINDS, PAGE, writeImage } from "./served_images.ts";

const PAGES = 1024;

/** What is done to a file that is served. */
const CHANGES: Readonly<Record<string, (path: string) => Promise<void>>> = {
  "cut short": (path) => Deno.truncate(path, 0),
  "cut short and grown again": async (path) => {
    const { size } = await Deno.stat(path);
    await Deno.truncate(path, 0);
    await Deno.truncate(path, size);
  },
  "saved over in place": async (path) => {
    using file = await Deno.open(path, { write: true });
    await file.write(new Uint8Array(PAGES * PAGE).fill(0xee));
  },
};

/** A source that serves an image to a destination whose guest runs. */
async function whileServed(
  path: string,
  memory: Uint8Array,
  options: Omit<SourceOptions, "to">,
  act: (destination: ScriptedHugeDestination) => Promise<void>,
): Promise<{ readonly failure: MigrationError; readonly destination: ScriptedHugeDestination }> {
  using image = await openImage(path);
  using destination = await ScriptedHugeDestination.listen(image.layout, memory);
  await using source = new Source(image, {
    recoverTimeout: 0,
    ...options,
    to: destination.address,
  });
  const run = source.run();
  run.catch(() => {});
  const playing = destination.play(options.mode !== "vanilla");
  playing.catch(() => {});
  await within("the guest to run", destination.when(() => destination.running));
  await act(destination);
  const failure = await within("the source to fail", assertRejects(() => run, MigrationError));
  assertEquals(source.status, "failed");
  await within("the destination to notice", Promise.allSettled([playing]));
  assert(!destination.complete);
  return { failure, destination };
}

for (const kind of IMAGE_KINDS) {
  for (const [how, change] of Object.entries(CHANGES)) {
    Deno.test(`Source sends no requested page of a ${kind} image that was ${how}`, async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const memory = await writeImage(kind, path, PAGES);
        let before = 0;
        // So slow that what is sent after the change is what was asked for.
        const options = { maxPostcopyBandwidth: 1 };
        const { failure, destination } = await whileServed(path, memory, options, async (there) => {
          await there.ask("ram", 500 * PAGE, PAGE);
          await within("a page", there.when(() => there.preempt.complete.length === 1));
          await change(path);
          before = there.preempt.complete.length;
          await there.ask("ram", 700 * PAGE, PAGE);
        });
        assertEquals(failure.code, "IMAGE_CHANGED");
        assert(failure.message.includes(`: ${path}: `), failure.message);
        assertEquals(destination.preempt.complete.length, before);
      });
    });

    Deno.test(`Source compresses no page of a ${kind} image that was ${how}`, async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const memory = await writeImage(kind, path, PAGES);
        const { failure } = await whileServed(path, memory, {
          mode: "vanilla",
          compress: { method: "zlib", threads: 1 },
          maxPostcopyBandwidth: 1e6,
        }, () => change(path));
        assertEquals(failure.code, "IMAGE_CHANGED");
        assert(failure.message.includes(`: ${path}: `), failure.message);
      });
    });
  }
}

Deno.test("Source lets nobody confirm an image that changed after its last page was sent", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const memory = await writeImage("capture", path, 16);
    using image = await openImage(path);
    using destination = await ScriptedHugeDestination.listen(image.layout, memory);
    await using source = new Source(image, {
      to: destination.address,
      mode: "vanilla",
      recoverTimeout: 0,
    });
    const { promise: held, resolve: go } = Promise.withResolvers<void>();
    destination.hold(held, PING.CHANNELS);
    const run = source.run();
    run.catch(() => {});
    const playing = destination.play(false);
    // All pages are in the socket; the device state is not loaded there yet.
    await until("all to be sent", () => source.statistics().ram.remaining === 0);
    await CHANGES["saved over in place"]!(path);
    go();
    const { code } = await within("the source to fail", assertRejects(() => run, MigrationError));
    assertEquals(code, "IMAGE_CHANGED");
    await within("the destination to notice", playing);
  });
});

Deno.test("Source does not begin to serve an image that has changed since it was opened", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const memory = await writeImage("raw", path, 16);
    using image = await openImage(path);
    using destination = await ScriptedHugeDestination.listen(image.layout, memory);
    await using source = new Source(image, {
      to: destination.address,
      mode: "vanilla",
      recoverTimeout: 0,
    });
    await Deno.truncate(path, 15 * PAGE);
    const { code, message } = await assertRejects(() => source.run(), MigrationError);
    assertEquals(code, "IMAGE_CHANGED");
    assert(message.includes(`${path}: ${15 * PAGE} bytes, not ${16 * PAGE} any more`), message);
  });
});

Deno.test("Source serves on when its image was renamed, replaced by another, or given other permissions", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const memory = await writeImage("mapped-ram", path, 64);
    using image = await openImage(path);
    using destination = await ScriptedHugeDestination.listen(image.layout, memory);
    await using source = new Source(image, {
      to: destination.address,
      maxPostcopyBandwidth: 1e5,
      recoverTimeout: 0,
    });
    const run = source.run();
    run.catch(() => {});
    const playing = destination.play(true);
    await within("the guest to run", destination.when(() => destination.running));
    await Deno.chmod(path, 0o400);
    await Deno.link(path, `${directory}/link`);
    await writeImage("raw", `${directory}/other`, 64);
    await Deno.rename(`${directory}/other`, path);
    await Deno.remove(`${directory}/link`);
    const [{ status }] = await within("the migration to end", Promise.all([run, playing]));
    assertEquals(status, "completed");
    assert(destination.complete);
  });
});

Deno.test("Source serves on when its image was put back with its time", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const memory = await writeImage("capture", path, PAGES);
    using image = await openImage(path);
    using destination = await ScriptedHugeDestination.listen(image.layout, memory);
    await using source = new Source(image, {
      to: destination.address,
      maxPostcopyBandwidth: 1,
      recoverTimeout: 0,
    });
    const run = source.run();
    run.catch(() => {});
    const playing = destination.play(true);
    await within("the guest to run", destination.when(() => destination.running));
    await within("a page", destination.when(() => destination.received > 0)); // the others wait for long
    const copy = `${directory}/copy`;
    const command = (...args: string[]) => new Deno.Command("cp", { args }).output();
    assert((await command("--preserve=timestamps", path, copy)).success);
    await CHANGES["cut short and grown again"]!(path);
    assert((await command("--preserve=timestamps", copy, path)).success);
    for (let at = 0; at < memory.length; at += PAGE) await destination.ask("ram", at, PAGE);
    await within("all pages", destination.when(() => destination.complete));
    await source.close(); // its background stream is too slow to wait for
    await playing;
  });
});

for (const compressed of [false, true]) {
  const what = compressed ? "compresses" : "sends";
  Deno.test(`Source ${what} no page of an index that was cut short, and names it`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      const memory = new Uint8Array(PAGES * PAGE);
      for (let page = 0; page < PAGES; page++) {
        memory.fill(1 + page % 250, page * PAGE, (page + 1) * PAGE);
      }
      await Deno.writeFile(
        path,
        makeCapture(
          { blocks: [{ name: "ram", usedLength: memory.length }] },
          (encoder) =>
            part(encoder, () => {
              encoder.block("ram");
              for (let at = 0; at < memory.length; at += PAGE) encoder.zeroPage(at, memory[at]!);
            }),
        ),
      );
      const options: Omit<SourceOptions, "to"> = compressed
        ? { mode: "vanilla", compress: { method: "zlib", threads: 1 }, maxPostcopyBandwidth: 1e3 }
        : { mode: "vanilla", maxPostcopyBandwidth: 1e6 };
      // A page behind the end is never at hand: so long it is waited for.
      const patience = { stallTimeout: 3_000 };
      const index = `${path}.postcopy-index`;
      const { failure } = await whileServed(
        path,
        memory,
        { ...options, ...patience },
        () => Deno.truncate(index, 4096),
      );
      assertEquals(failure.code, "IMAGE_UNREADABLE");
      assert(failure.message.includes(`: ${index}: `), failure.message);
      assert(failure.message.includes("remove that file, it is made anew"), failure.message);
    });
  });
}
