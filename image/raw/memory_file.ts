/** Memory as it is, in a file that nothing describes: what Firecracker writes of a snapshot. */

import { MappedFile } from "../../ffi/mapped_file.ts";
import { isStream } from "../file_kind.ts";
import { stampImage } from "../file_stamp.ts";
import type { Image } from "../image.ts";
import { ImageError, TRUNCATED_REMEDY } from "../image_error.ts";
import { undescribedImage } from "./raw_image.ts";

const PAGE = 4096;

/**
 * Opens a memory file as an image of one RAM block, without devices.
 *
 * @param path its name
 * @param doubtful whether one is refused that begins as a stream of QEMU: a guest decides what its memory begins
 * with, so that the format is told, and never guessed from the content
 * @throws {ImageError} when it cannot be served
 * @throws {SyscallError} from open or mmap
 */
export async function openMemoryFile(path: string, doubtful: boolean): Promise<Image> {
  const { size } = await stampImage(path);
  if (size === 0) throw new ImageError("truncated", path, "File of 0 bytes", TRUNCATED_REMEDY);
  if (size % PAGE !== 0) {
    const remedy =
      "give the whole memory file of a snapshot; an image of QEMU needs --format image";
    throw new ImageError("truncated", path, `Memory that is no whole pages: ${size} bytes`, remedy);
  }
  const file = MappedFile.open(path, size);
  try {
    if (doubtful && isStream(file.bytes(0, PAGE))) {
      const remedy = "say --format image if QEMU wrote it, --format raw if it is memory as it is";
      throw new ImageError("unsupported", path, "File that begins as a stream of QEMU", remedy);
    }
    return undescribedImage(path, file);
  } catch (error) {
    file.close();
    throw error;
  }
}
