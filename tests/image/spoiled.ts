/** Files that may be no good images. */

import { assert, assertEquals } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { PAGE } from "./captures.ts";

/** Opens bytes as an image and reads all its pages; returns the error, if that is what comes. */
export async function openBytes(path: string, bytes: Uint8Array): Promise<ImageError | undefined> {
  await Deno.writeFile(path, bytes);
  try {
    using image = await openImage(path);
    const locator = new PageLocator(image.pages);
    for (const { firstPage, pageCount } of image.layout.blocks) {
      for (let page = firstPage; page < firstPage + pageCount; page++) {
        const address = locator.locate(page);
        if (address !== 0) viewMemory(address, PAGE).slice();
      }
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    assert(error.message.includes(path), error.message);
    return error;
  } finally {
    assertEquals(await Deno.readFile(path), bytes);
  }
}
