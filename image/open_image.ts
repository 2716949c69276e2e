/** Opening an image of any format. */

import { MappedFile } from "../ffi/mapped_file.ts";
import { openCapture } from "./capture/captured_image.ts";
import { requireUnchanged, stampImage } from "./file_stamp.ts";
import { CONFIGURATION_LIMIT, foreignFormat, isMappedRam, unknownFormat } from "./file_kind.ts";
import type { Image } from "./image.ts";
import { ImageError, TRUNCATED_REMEDY, unreadImage } from "./image_error.ts";
import type { OpenImageOptions } from "./open_image_options.ts";
import { openMappedRam } from "./mapped_ram/mapped_ram_image.ts";
import { isRawDescription, notADescription, readDescriptionFile } from "./raw/raw_description.ts";
import { openRaw } from "./raw/raw_image.ts";
import { findStream, seekStream } from "./stream/stream_place.ts";

/**
 * Opens an image: a stream that QEMU wrote into a file, a file in QEMU's mapped-ram format, or a raw
 * memory file with a description beside it (`FILE.json`); the first two also as libvirt saves them
 * (`virsh save`), unless a program packed them. The file is mapped, not read into memory, and never
 * written to.
 *
 * Of a captured stream an index is made at the first opening and kept beside it
 * (`FILE.postcopy-index`); as long as the image does not change, later openings take milliseconds.
 *
 * @param path the image's name
 * @throws {ImageError} when it cannot be served: what is wrong, where, and what to do
 *
 * @example
 * ```ts ignore
 * import { openImage } from "./open_image.ts";
 *
 * using image = await openImage("vm.img");
 * console.log(image.machine, image.blocks);
 * ```
 */
export async function openImage(path: string, options: OpenImageOptions = {}): Promise<Image> {
  const stamp = await stampImage(path);
  if (stamp.size === 0) {
    throw new ImageError("truncated", path, "Image of 0 bytes", TRUNCATED_REMEDY);
  }
  const memory = MappedFile.open(path, stamp.size);
  try {
    // Only now is it sure that the mapping is of a file with that size.
    await requireUnchanged(path, stamp);
    const description = await readDescriptionFile(path);
    const raw = description !== undefined && isRawDescription(description);
    if (raw && options.offset === undefined) return await openRaw(path, memory, description);
    const place = findStream(path, memory, options.offset);
    if (place !== undefined) {
      const length = Math.min(CONFIGURATION_LIMIT, memory.length - place.offset);
      const start = memory.bytes(place.offset, length);
      const open = isMappedRam(start) ? openMappedRam : openCapture;
      return await open(path, memory, stamp, place, options);
    }
    const head = memory.bytes(0, Math.min(16, memory.length)).slice();
    throw foreignFormat(path, head) ??
      (description === undefined
        ? unknownFormat(path, head, seekStream(memory), options.again)
        : notADescription(path, description));
  } catch (error) {
    memory.close();
    throw unreadImage(path, error);
  }
}
