/** Images for tests, in a directory that goes with them. */

import { assert } from "@std/assert";
import { Buffer } from "node:buffer";
import { type ImageBlock, writeWorkloadImage } from "../../workload/image.ts";
import { viewMemory } from "../../ffi/memory.ts";

/** A saved workload guest in a temporary directory. */
export class TestImage implements Disposable {
  /** The image file. */
  readonly path: string;
  /** Pages in all blocks. */
  readonly pages: number;
  readonly #directory: string;
  readonly #content: Uint8Array;

  private constructor(directory: string, path: string) {
    this.#directory = directory;
    this.path = path;
    this.#content = Deno.readFileSync(path);
    this.pages = this.#content.length / 4096;
  }

  /**
   * Writes an image.
   *
   * @param blocks pages of each block, by name
   */
  static async make(
    blocks: Readonly<Record<string, number>> = { ram: 2048 },
    { seed = 7, zeroEvery = 4, repeats = 1 } = {},
  ): Promise<TestImage> {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
    const path = `${directory}/image`;
    const list: ImageBlock[] = Object.entries(blocks).map(([name, pages]) => ({
      name,
      length: pages * 4096,
    }));
    await writeWorkloadImage(path, { seed, zeroEvery, repeats, blocks: list });
    return new TestImage(directory, path);
  }

  /** Compares every byte of memory with the image's blocks, which follow one another. */
  assertEqualMemory(
    blocks: readonly { readonly address: number; readonly length: number }[],
  ): void {
    let at = 0;
    for (const { address, length } of blocks) {
      const expected = Buffer.from(this.#content.buffer, at, length);
      const found = Buffer.from(viewMemory(address, length).buffer);
      if (Buffer.compare(expected, found) !== 0) {
        const index = expected.findIndex((byte, index) => byte !== found[index]);
        throw new Error(`Memory differs from the image at byte ${at + index}`);
      }
      at += length;
    }
    assert(at === this.#content.length, `Memory of ${at} bytes, image of ${this.#content.length}`);
  }

  /** Sees that nobody changed the image, or left a file beside it. */
  assertUntouched(): void {
    assert(Buffer.compare(this.#content, Deno.readFileSync(this.path)) === 0, "Image was changed");
    const names = [...Deno.readDirSync(this.#directory)].map(({ name }) => name).sort();
    assert(
      names.join() === "image,image.devices,image.json",
      `Files beside the image: ${names.join()}`,
    );
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory, { recursive: true });
  }
}
