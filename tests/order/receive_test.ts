/** An order on the way into an image: a copy of one that is served by an order is whole. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { HELD, LACKING, RAM_PAGES, writeLacking } from "../end_to_end/lacking_images.ts";
import { withDirectory } from "../image/captures.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { randomOrder } from "./orders.ts";

for (const kind of LACKING) {
  for (const mode of MODES) {
    Deno.test(
      `ImageReceiver copies a ${kind} that Source in mode ${mode} serves by an order`,
      leavingNoDescriptors(() =>
        withDirectory(async (directory) => {
          const [ram, vmem] = await writeLacking(kind, `${directory}/served`);
          const path = `${directory}/copy`;
          await using receiver = new ImageReceiver({ path });
          const to = await receiver.listen(LOOPBACK);
          using image = await openImage(`${directory}/served`);
          const { runs: order } = randomOrder(new Random(61), { ram: RAM_PAGES }, 1000);
          await using source = new Source(image, { to, mode, order, warm: 60_000 });
          const both = Promise.all([source.run(), receiver.finished]);
          const [sent] = await within("both ends", both);
          assertEquals([sent.ram.normal, sent.ram.duplicate], [HELD, 0]);
          assertEquals(sent.order!.early > 0, true);
          using copy = await openImage(path);
          assertImageMemory(copy, new Map([["ram", ram!], ["vmem", vmem!]]));
          assertEquals(copy.counts!.map(({ data }) => data), [HELD, 0]);
        })
      ),
    );
  }
}
