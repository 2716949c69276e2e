/** A last look at an image that was received. */

import type { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";

/**
 * Opens an image as whoever runs it again will.
 *
 * @returns what is wrong with it; undefined when it is whole
 */
export async function whyNotWhole(
  path: string,
  receiver: Pick<ImageReceiver, "machine" | "statistics">,
): Promise<string | undefined> {
  try {
    using image = await openImage(path);
    const { pages, received, unnamed } = receiver.statistics();
    if (image.machine !== receiver.machine) {
      return `it is of machine type ${image.machine}, and ${receiver.machine} came`;
    }
    if (image.layout.pageCount !== pages || received + unnamed !== pages) {
      return `it has ${image.layout.pageCount} pages, and ${received} of ${pages} came`;
    }
    return image.deviceSections.length > 0 ? undefined : "it has no device";
  } catch (error) {
    return (error as Error).message;
  }
}
