/** Our own source on the other side: a copy of an image, in the format that QEMU reads too. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { withDirectory } from "../image/captures.ts";
import {
  ABSENT,
  HELD,
  HOLE_PAGES,
  LACKING,
  RAM_PAGES,
  writeLacking,
} from "../end_to_end/lacking_images.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { assertImageMemory } from "./memory_model.ts";
import { ReceiveProcess } from "./receive_process.ts";

const BLOCKS = { ram: 1000, rom: 33 };

for (const mode of MODES) {
  Deno.test(
    `ImageReceiver copies an image that Source serves in mode ${mode}`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        using served = await TestImage.make(BLOCKS);
        const path = `${directory}/copy`;
        await using receiver = new ImageReceiver({ path });
        const to = await receiver.listen(LOOPBACK);
        using image = await openImage(served.path);
        await using source = new Source(image, { to, mode });
        await within("both ends", Promise.all([source.run(), receiver.finished]));
        using copy = await openImage(path);
        assertEquals([copy.kind, copy.machine], ["mapped-ram", image.machine]);
        assertEquals(copy.deviceState, image.deviceState);
        const content = await Deno.readFile(served.path);
        const split = BLOCKS.ram * 4096;
        const memory = [["ram", content.subarray(0, split)], ["rom", content.subarray(split)]];
        assertImageMemory(copy, new Map(memory as [string, Uint8Array][]));
      })
    ),
  );
}

/** Sees that a copy holds these blocks, and that what they lack takes no room in it. */
async function assertCopy(path: string, [ram, vmem]: readonly Uint8Array[]): Promise<void> {
  using copy = await openImage(path);
  assertImageMemory(copy, new Map([["ram", ram!], ["vmem", vmem!]]));
  assertEquals(copy.counts!.map(({ data }) => data), [HELD, 0]);
  const { blocks } = await Deno.stat(path);
  assert(blocks! * 512 < (RAM_PAGES + HOLE_PAGES / 2) * 4096, `Blocks of 512 bytes: ${blocks}`);
}

for (const kind of LACKING) {
  Deno.test(
    `ImageReceiver makes holes of what a ${kind} lacks, and Source sends none of it`,
    leavingNoDescriptors(() =>
      withDirectory(async (directory) => {
        const content = await writeLacking(kind, `${directory}/served`);
        const path = `${directory}/copy`;
        await using receiver = new ImageReceiver({ path });
        const to = await receiver.listen(LOOPBACK);
        using image = await openImage(`${directory}/served`);
        await using source = new Source(image, { to });
        const both = Promise.all([source.run(), receiver.finished]);
        const [{ ram }] = await within("both ends", both);
        assertEquals([ram.normal, ram.duplicate, ram.remaining], [HELD, 0, 0]);
        const { received, normal, duplicate, remaining, unnamed } = receiver.statistics();
        assertEquals([normal, duplicate], [HELD, ABSENT]);
        assertEquals([received, remaining, unnamed], [HELD + ABSENT, 0, 0]);
        await assertCopy(path, content);
      })
    ),
  );
}

Deno.test("Source sends what an image lacks to a receiver that takes up what another left", () =>
  withDirectory(async (directory) => {
    const content = await writeLacking("capture", `${directory}/served`);
    const path = `${directory}/copy`;
    using image = await openImage(`${directory}/served`);
    await using first = new ReceiveProcess(["--image", path]);
    await using relay = await FaultRelay.start(await first.address());
    await using source = new Source(image, { to: relay.address, maxPostcopyBandwidth: 1 << 20 });
    const run = source.run();
    run.catch(() => {}); // awaited below
    await first.event("progress", ({ received }) => received > ABSENT);
    first.kill("SIGKILL");
    await within("the kill", first.ended);
    await within("the pause", until("the pause", () => source.status === "postcopy-paused"));

    const [left] = [...Deno.readDirSync(directory)].filter(({ name }) =>
      name.includes(".partial-")
    );
    await using second = new ReceiveProcess(["--recover", `${directory}/${left!.name}`]);
    relay.redirect(await second.address());
    source.recover();
    // It cannot know what it was told: whatever its bitmaps do not name is sent.
    const { ram } = await within("the source to complete", run);
    assertEquals([ram.duplicate, ram.remaining], [ABSENT, 0]);
    assertEquals((await within("the image", second.ended)).code, 0);
    await assertCopy(path, content);
  }));
