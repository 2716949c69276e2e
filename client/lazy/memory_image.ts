/** The file that pages come from: a memory file as Firecracker writes it, or any image of ours. */

import type { Image } from "../../image/image.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { openMemoryFile } from "../../image/raw/memory_file.ts";
import { type MemoryPages, spansOf } from "./memory_pages.ts";
import { BASE_PAGE } from "./region.ts";

/**
 * How a file is to be read. `raw`: its bytes are the memory, whatever they look like. `image`: one that
 * `openImage` opens, whose memory is its RAM blocks, one behind the other.
 */
export type MemoryFormat = "raw" | "image";
/** All of them. */
export const MEMORY_FORMATS = ["raw", "image"] as const satisfies readonly MemoryFormat[];

/** An open file of memory. */
export interface MemoryImage extends Disposable {
  /** The memory in it. */
  readonly memory: MemoryPages;
  /** The same as an image, where it is one. */
  readonly image?: Image;
}

/**
 * Opens a file of memory.
 *
 * A guest decides what its memory begins with, and so what a raw file looks like: its format is told, and
 * never guessed from its content.
 *
 * @param path its name
 * @param format how to read it; without, it is raw, unless it begins as a stream of QEMU: then that has to be
 * told
 * @throws {ImageError} when it cannot be served
 * @throws {SyscallError} from open or mmap
 */
export async function openMemoryImage(path: string, format?: MemoryFormat): Promise<MemoryImage> {
  const image = format === "image"
    ? await openImage(path)
    : await openMemoryFile(path, format === undefined);
  if (image.targetPageSize !== BASE_PAGE) {
    image.close();
    const problem = `Pages that are not of 4096 bytes: ${image.targetPageSize}`;
    throw new ImageError("unsupported", path, problem, "serve it to a QEMU instead");
  }
  const { pages, layout } = image;
  return { image, memory: { pages, ...spansOf(layout) }, [Symbol.dispose]: () => image.close() };
}
