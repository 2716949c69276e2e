/** The description of the device sections at the end of a stream. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { readU32 } from "../../migration/protocol/byte_order.ts";
import { ELEMENT } from "../../migration/protocol/mod.ts";
import type { FileRange } from "./stream_contents.ts";

/** The EOF byte behind the device sections; then type and length of the VMDESCRIPTION element. */
const BEFORE_TEXT = 1 + 1 + 4;

/**
 * Reads the description of an image, whatever stands behind it.
 *
 * @param image all of it
 * @param deviceState its device sections
 * @returns the JSON text, unchecked; undefined when there is none, or not all of it
 */
export function readVmDescription(
  image: MappedMemory,
  deviceState: FileRange,
): string | undefined {
  const end = deviceState.offset + deviceState.length;
  const start = end + BEFORE_TEXT;
  if (start > image.length) return undefined;
  const head = image.bytes(end, BEFORE_TEXT);
  if (head[1] !== ELEMENT.VM_DESCRIPTION) return undefined;
  const length = readU32(head, 2);
  if (start + length > image.length) return undefined;
  return new TextDecoder().decode(image.bytes(start, length));
}
