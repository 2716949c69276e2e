/** Images for the benchmarks, made once a run and removed with it. */

import { writeWorkloadImage } from "../../workload/image.ts";
import { progress } from "./progress.ts";
import { TemporaryDirectory } from "./temporary_directory.ts";

/** Makes workload images by size. */
export class WorkloadImages implements Disposable {
  readonly #directory = new TemporaryDirectory();
  readonly #made = new Map<number, Promise<string>>();

  /**
   * Makes an image of that size, or finds the one made before. All of its pages hold data, and all
   * are in the page cache.
   *
   * @param bytes a multiple of 4096
   * @returns its path
   */
  path(bytes: number): Promise<string> {
    let made = this.#made.get(bytes);
    if (made === undefined) this.#made.set(bytes, made = this.#make(bytes));
    return made;
  }

  async #make(bytes: number): Promise<string> {
    const path = `${this.#directory.path}/${bytes}.ram`;
    progress(`Writing an image of ${bytes / 2 ** 20} MiB`);
    await writeWorkloadImage(path, {
      seed: 1,
      zeroEvery: 0,
      blocks: [{ name: "workload", length: bytes }],
    });
    return path;
  }

  /** Removes all images. Closing again does nothing. */
  close(): void {
    this.#directory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
