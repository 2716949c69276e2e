/** What follows the memory in an image: device sections, and what says where they are. */

import {
  type DeviceSection,
  deviceSections,
  joinDeviceState,
} from "../../migration/protocol/device_state.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";

/**
 * Puts the end of an image together.
 *
 * @param deviceState SECTION_FULL elements
 * @param description the source's own; a source that switched to postcopy sends none
 * @param pageSize bytes of a target page
 * @returns the bytes from the first device section to the end of the file
 */
export function imageTail(
  deviceState: Uint8Array,
  description: string | undefined,
  pageSize: number,
): Uint8Array<ArrayBuffer> {
  return joinDeviceState({
    devices: deviceState,
    description: description ?? describeSections(deviceState, pageSize),
  });
}

/**
 * Describes device sections as QEMU does those without fields: name, instance, version, and one piece
 * of data of so many bytes.
 */
function describeSections(deviceState: Uint8Array, pageSize: number): string {
  const devices = findSections(deviceState).map(({ name, instance, version, size }) => ({
    name,
    instance_id: instance,
    version,
    fields: [{ name: "data", size, type: "buffer" }],
  }));
  return JSON.stringify({ page_size: pageSize, devices });
}

/** A description is no reason to lose a machine: nobody needs it to load the sections. */
function findSections(deviceState: Uint8Array): readonly DeviceSection[] {
  try {
    return deviceSections(deviceState);
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}
