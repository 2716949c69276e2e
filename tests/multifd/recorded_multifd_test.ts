/** Recorded migrations with multifd, received again into an image. */
import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { withDirectory } from "../image/captures.ts";
import { MULTIFD_WIRES, readMultifd, sum } from "../protocol/multifd_recordings.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { imageBlock } from "./image_block.ts";
import { sendStreams } from "./multifd_source.ts";

const ORDERS = [[0, 1, 2], [2, 1, 0], [1, 0, 2]];

for (const directory of MULTIFD_WIRES) {
  for (const order of ORDERS) {
    testUnless(
      needsRecording(directory),
      `ImageReceiver gives every page of ${directory}, connections in the order ${order}`,
      leavingNoDescriptors(async () => {
        const { main, channels, sums } = readMultifd(directory);
        const random = new Random(order[0]! + 1);
        const cut = (bytes: Uint8Array) => random.split(bytes, 200_000);
        await withDirectory(async (path) => {
          await using receiver = new ImageReceiver({ path: `${path}/image`, multifdChannels: 2 });
          const to = await receiver.listen(LOOPBACK);
          const streams = { main: cut(main), channels: channels.map(cut), order };
          const sending = sendStreams(to, streams, receiver.finished);
          await within("the image", Promise.all([receiver.finished, sending]));
          await receiver.close();
          const statistics = receiver.statistics();
          const { pages, received, remaining, unnamed } = statistics;
          assertEquals([received, remaining, unnamed], [pages, 0, 0]);
          const bytes = channels.reduce((all, { length }) => all + length, 0);
          assertEquals(statistics["multifd-bytes"], bytes);
          using image = await openImage(`${path}/image`);
          for (const [name, wanted] of Object.entries(sums)) {
            assertEquals(await sum(imageBlock(image, name)), wanted, name);
          }
          assertGreater(statistics.normal, 1000);
        });
      }),
    );
  }
}
