/** A disk from which a page does not come. */

import { assertEquals } from "@std/assert";
import { addressOf, MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { RegisterMode, Userfaultfd } from "../../ffi/userfaultfd.ts";
import type { Image } from "../../image/image.ts";
import type { FlatPages } from "../../pages/flat_pages.ts";

const PAGE = 4096;

/** A raw image whose pages lie in memory of the test's instead of its file. */
export function lyingIn(memory: MappedMemory, image: Image): Image {
  const { file: _, ...flat } = image.pages as FlatPages;
  const pages: FlatPages = { ...flat, imageAddress: memory.address };
  const close = () => {};
  return { ...image, pages, close, [Symbol.dispose]: close };
}

/** Plays a disk from which one page does not come before it is let. */
export class SlowDisk implements Disposable {
  /** All that is on it; the page that does not come is missing. */
  readonly memory: MappedMemory;
  readonly #page: Uint8Array<ArrayBuffer>;
  readonly #address: number;
  readonly #fd = new Userfaultfd();
  #slow = true;

  /**
   * @param content all that is on it
   * @param slow offset of that page
   */
  constructor(content: Uint8Array, slow: number) {
    this.memory = MappedMemory.anonymous(content.length);
    this.memory.adviseSmallPages();
    this.memory.bytes().set(content);
    this.#fd.register(this.memory.address, content.length, RegisterMode.MISSING);
    this.memory.discard(slow, PAGE);
    this.#page = content.slice(slow, slow + PAGE);
    this.#address = this.memory.address + slow;
  }

  /** The page comes. */
  answer(): void {
    if (!this.#slow) return;
    const placer = new PagePlacer(this.#fd.fd);
    assertEquals(placer.copy(this.#address, addressOf(this.#page), PAGE), Placement.PLACED);
    this.#slow = false;
  }

  [Symbol.dispose](): void {
    this.#fd.close();
    this.memory.close();
  }
}
