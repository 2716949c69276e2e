/**
 * The state of a guest that is no machine of QEMU's: bytes of any form, in one non-iterable section of
 * the stream (SECTION_FULL, docs/protocol.md section 1.1), so that every destination can tell where
 * they end.
 */

import { readU32 } from "./byte_order.ts";
import { ByteWriter } from "./byte_writer.ts";
import { ELEMENT } from "./constants.ts";
import { encodeName } from "./names.ts";

const SECTION_NAME = "postcopy-guest";
const SECTION_VERSION = 1;
const NAME = encodeName(SECTION_NAME);
/** Type, id, name with its length, instance, version, length of the payload. */
const HEAD_BYTES = 1 + 4 + 1 + NAME.length + 4 + 4 + 4;
const FOOTER_BYTES = 5;

/**
 * Encodes a guest's state as device state.
 *
 * @param id of the section; no other section of the stream has it
 */
export function encodeGuestSection(id: number, state: Uint8Array): Uint8Array {
  const writer = new ByteWriter(HEAD_BYTES + state.length + FOOTER_BYTES);
  writer.u8(ELEMENT.SECTION_FULL);
  writer.u32(id);
  writer.name(SECTION_NAME);
  writer.u32(0); // instance
  writer.u32(SECTION_VERSION);
  writer.u32(state.length);
  writer.bytes(state);
  writer.u8(ELEMENT.SECTION_FOOTER);
  writer.u32(id);
  return writer.take();
}

/**
 * Describes that section as a VMDESCRIPTION does (docs/protocol.md section 1.5).
 *
 * @param length bytes of the state
 * @returns JSON
 */
export function describeGuestSection(length: number, targetPageSize: number): string {
  const fields = [
    { name: "length", type: "uint32", size: 4 },
    { name: "state", type: "buffer", size: length },
  ];
  const device = {
    name: SECTION_NAME,
    instance_id: 0,
    vmsd_name: SECTION_NAME,
    version: SECTION_VERSION,
    fields,
  };
  return JSON.stringify({ page_size: targetPageSize, devices: [device] });
}

/**
 * Returns the state that {@linkcode encodeGuestSection} encoded, or the device state itself when it is
 * another machine's.
 *
 * @param deviceState as it came in a stream
 */
export function guestState(deviceState: Uint8Array): Uint8Array {
  const payload = deviceState.length - HEAD_BYTES - FOOTER_BYTES;
  const named = payload >= 0 && deviceState[0] === ELEMENT.SECTION_FULL &&
    deviceState[5] === NAME.length && NAME.every((byte, index) => deviceState[6 + index] === byte);
  if (!named || readU32(deviceState, HEAD_BYTES - 4) !== payload) return deviceState;
  return deviceState.subarray(HEAD_BYTES, HEAD_BYTES + payload);
}
