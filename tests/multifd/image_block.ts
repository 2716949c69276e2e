import { viewMemory } from "../../ffi/memory.ts";
import type { Image } from "../../image/image.ts";
import { PageLocator } from "../../pages/page_locator.ts";

const PAGE = 4096;

/** The memory of one block, as an image gives it. */
export function imageBlock(image: Image, name: string): Uint8Array<ArrayBuffer> {
  const { firstPage, pageCount } = image.layout.find(name)!;
  const locator = new PageLocator(image.pages);
  const memory = new Uint8Array(pageCount * PAGE);
  for (let page = 0; page < pageCount; page++) {
    const address = locator.locate(firstPage + page);
    if (address !== 0) memory.set(viewMemory(address, PAGE), page * PAGE);
  }
  return memory;
}
