/** The run state that a QEMU writes beside its devices: whether its destination lets the machine run. */

import { writeU32 } from "../../migration/protocol/byte_order.ts";
import { deviceSections, joinDeviceState } from "../../migration/protocol/device_state.ts";
import { parseVmDescription, type VmDescription } from "../../migration/protocol/vm_description.ts";
import type { Image } from "../../image/image.ts";

/** The section, and where in it the text lies: behind the bytes that it has with its NUL (migration/global_state). */
const SECTION = "globalstate";
const TEXT = 4;
const TEXT_BYTES = 100;

/** States that are kept: a machine that sleeps is woken by what its guest waits for. */
const KEPT: readonly string[] = ["running", "suspended"];

/**
 * Returns a device state by which the machine runs at its destination. A QEMU that takes a guest by precopy leaves
 * it as it was when it was saved, and a saved one mostly stood still; one that takes it by postcopy runs it in any
 * case. One that was started to wait (`-S`) waits.
 *
 * @param devices SECTION_FULLs
 * @param description of them, if there is one
 * @throws {ProtocolError} when they are none
 */
export function asRunning(devices: Uint8Array, description?: VmDescription): Uint8Array {
  const section = deviceSections(devices, description).find(({ name }) => name === SECTION);
  if (section === undefined || section.size < TEXT + TEXT_BYTES) return devices;
  const at = section.start + TEXT;
  const end = devices.indexOf(0, at);
  const state = new TextDecoder().decode(devices.subarray(at, end));
  if (KEPT.includes(state)) return devices;
  const text = new TextEncoder().encode("running\0");
  const running = devices.slice();
  writeU32(running, section.start, text.length);
  running.fill(0, at, at + TEXT_BYTES);
  running.set(text, at);
  return running;
}

/**
 * Encodes the end of a stream whose memory has all been sent, by which the machine of an image runs.
 *
 * @throws {ProtocolError} when its devices cannot be read
 */
export function encodeEnd(image: EndingImage): Uint8Array<ArrayBuffer> {
  const { kind, deviceState, targetPageSize } = image;
  // A QEMU waits for one. A captured stream without it is of a machine whose QEMU does not.
  const none = kind === "raw" ? `{"page_size":${targetPageSize},"devices":[]}` : undefined;
  const { description = none } = image;
  if (description === undefined) return joinDeviceState({ devices: asRunning(deviceState) });
  const devices = asRunning(deviceState, parseVmDescription(description));
  return joinDeviceState({ devices, description });
}

/** What the end of a stream is made from. */
export type EndingImage = Pick<Image, "kind" | "deviceState" | "description" | "targetPageSize">;
