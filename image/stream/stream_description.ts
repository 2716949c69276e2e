/** The description of the device sections at the end of a stream. */

import type { MappedMemory } from "../../ffi/memory.ts";
import type { FileRange } from "./stream_contents.ts";

/** The EOF byte behind the device sections; then type and length of the VMDESCRIPTION element. */
const BEFORE_TEXT = 1 + 1 + 4;

/**
 * Reads the description of an image. That it ends with one, or with the EOF byte, was seen when the
 * end of the device sections was found.
 *
 * @param image all of it
 * @param deviceState its device sections
 * @returns the JSON text, unchecked; undefined when there is none
 */
export function readVmDescription(
  image: MappedMemory,
  deviceState: FileRange,
): string | undefined {
  const start = deviceState.offset + deviceState.length + BEFORE_TEXT;
  if (start >= image.length) return undefined;
  return new TextDecoder().decode(image.bytes(start, image.length - start));
}
