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

  readonly #blocks: Readonly<Record<string, number>>;

  private constructor(directory: string, path: string, blocks: Readonly<Record<string, number>>) {
    this.#blocks = blocks;
    this.#directory = directory;
    this.path = path;
    this.#content = Deno.readFileSync(path);
    this.pages = this.#content.length / 4096;
  }

  /**
   * Writes an image.
   *
   * @param blocks pages of each block, by name
   * @param options what is in them, and of what machine they are; default the workload's
   */
  static async make(
    blocks: Readonly<Record<string, number>> = { ram: 2048 },
    { seed = 7, zeroEvery = 4, repeats = 1, machine = "" } = {},
  ): Promise<TestImage> {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
    const path = `${directory}/image`;
    const list: ImageBlock[] = Object.entries(blocks).map(([name, pages]) => ({
      name,
      length: pages * 4096,
    }));
    await writeWorkloadImage(path, { seed, zeroEvery, repeats, blocks: list });
    if (machine !== "") {
      const description = JSON.parse(await Deno.readTextFile(`${path}.json`));
      await Deno.writeTextFile(`${path}.json`, JSON.stringify({ ...description, machine }));
    }
    return new TestImage(directory, path, blocks);
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

  /** What its blocks hold, by name. */
  get memory(): Map<string, Uint8Array> {
    let at = 0;
    return new Map(
      Object.entries(this.#blocks).map(([name, pages]) => {
        const start = at;
        at += pages * 4096;
        return [name, this.#content.subarray(start, at)];
      }),
    );
  }

  /** The marks beside it, of guests that may run. */
  get marks(): string[] {
    return this.#names.filter((name) => name.startsWith("image.postcopy-handover-"));
  }

  /** The order of first touch beside it, which a `serve` keeps; it need not be there. */
  get order(): string {
    return `${this.path}.postcopy-order`;
  }

  /**
   * Sees that nobody changed the image, or left a file beside it but the order of first touch and the marks of
   * guests that may run.
   *
   * @param marks how many there are
   */
  assertUntouched(marks = 0): void {
    assert(Buffer.compare(this.#content, Deno.readFileSync(this.path)) === 0, "Image was changed");
    const names = this.#names;
    const found = this.marks;
    const kept = [...found, "image.postcopy-order"];
    const others = names.filter((name) => !kept.includes(name)).sort();
    assert(
      others.join() === "image,image.devices,image.json" && found.length === marks,
      `Files beside the image: ${names.join()}`,
    );
  }

  get #names(): string[] {
    return [...Deno.readDirSync(this.#directory)].map(({ name }) => name);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory, { recursive: true });
  }
}
