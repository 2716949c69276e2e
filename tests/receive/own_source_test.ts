/** Our own source on the other side: a copy of an image, in the format that QEMU reads too. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { withDirectory } from "../image/captures.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { assertImageMemory } from "./memory_model.ts";

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
