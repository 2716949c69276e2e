/** Where the device state ends, whose sections carry no length: found from behind, or by its sections. */

import { readU32 } from "./byte_order.ts";
import { ELEMENT, MAX_PACKAGE_BYTES } from "./constants.ts";
import {
  deviceSections,
  type DeviceStateTail,
  FOOTER_BYTES,
  isFooter,
  searchLastSection,
} from "./device_state.ts";
import { ProtocolError } from "./protocol_error.ts";
import { parseVmDescription } from "./vm_description.ts";

/** EOF, type and length of the VMDESCRIPTION. */
const BEFORE_TEXT = 1 + 1 + 4;
const [OPENING_BRACE, CLOSING_BRACE] = [0x7b, 0x7d];

/** Places that look like a description and are none, at which the search ends: nobody's devices have more. */
const MOST_DESCRIPTIONS = 64;

/** Where a description seems to be. */
interface Description {
  /** Where the EOF byte before it lies. */
  readonly end: number;
  /** Bytes of its text. */
  readonly length: number;
}

/**
 * Finds the end of the device state in the tail of a captured precopy stream: everything a
 * {@linkcode StreamDecoder} handed to `deviceState`, up to the end of the file.
 *
 * As QEMU does, it takes whatever stands behind the EOF byte and behind the description: what a larger
 * volume held before, zeros, nothing, a description that was cut. Sections carry no length (docs/protocol.md
 * section 4.3): a description tells by its own length and by the sizes in it where they end. Without one
 * they are gone through by their footers.
 *
 * @returns Views of `tail`.
 * @throws {ProtocolError} When no device state ends there; offsets are from the tail's start.
 */
export function splitDeviceState(tail: Uint8Array): DeviceStateTail {
  // The rest of a large volume is not read.
  const bytes = tail.length > MAX_PACKAGE_BYTES ? tail.subarray(0, MAX_PACKAGE_BYTES) : tail;
  const others: Description[] = [];
  for (const found of descriptions(bytes)) {
    const taken = tailAt(bytes, found);
    // Bytes of a device can look like an end with a description, but that does not fit them then.
    if (fits(taken)) return taken;
    others.push(found);
    if (others.length === MOST_DESCRIPTIONS) break;
  }
  const bare = bareTail(bytes);
  const found = others.find(({ end }) => end === bare?.devices.length) ??
    others.find(({ end, length }) => end + BEFORE_TEXT + length === bytes.length);
  const taken = found === undefined ? bare : tailAt(bytes, found);
  if (taken !== undefined) return taken;
  throw new ProtocolError(
    "truncated",
    tail.length,
    "a section footer, the EOF byte and a description at the end of the stream",
    "none of them",
    "device state",
  );
}

/**
 * Takes device state apart that came over a connection, if a description ends exactly where it does.
 *
 * @returns Views of `tail`; undefined when more must come.
 */
export function splitAtDescription(tail: Uint8Array): DeviceStateTail | undefined {
  // The description is text, which holds no byte 0x06; the test rarely gets further than this.
  for (let at = tail.length - BEFORE_TEXT; at >= FOOTER_BYTES; at--) {
    if (!beginsDescription(tail, at)) continue;
    const length = readU32(tail, at + 2);
    if (at + BEFORE_TEXT + length === tail.length) return tailAt(tail, { end: at, length });
  }
  return undefined;
}

/**
 * The same for a source that describes nothing: if an EOF byte behind whole sections is the last byte.
 *
 * @returns Views of `tail`; undefined when more must come.
 */
export function splitAtEnd(tail: Uint8Array): DeviceStateTail | undefined {
  const end = tail.length - 1;
  if (tail[end] !== ELEMENT.EOF || tail[end - FOOTER_BYTES] !== ELEMENT.SECTION_FOOTER) {
    return undefined;
  }
  const devices = tail.subarray(0, end);
  try {
    deviceSections(devices);
    return { devices };
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Every place that looks like the EOF byte with a whole description behind it, from the front. */
function* descriptions(tail: Uint8Array): Generator<Description> {
  let type = tail.indexOf(ELEMENT.VM_DESCRIPTION, FOOTER_BYTES + 1);
  for (; type >= 0; type = tail.indexOf(ELEMENT.VM_DESCRIPTION, type + 1)) {
    const end = type - 1;
    if (!beginsDescription(tail, end)) continue;
    const length = readU32(tail, end + 2);
    if (isText(tail, end + BEFORE_TEXT, length)) yield { end, length };
  }
}

function beginsDescription(tail: Uint8Array, end: number): boolean {
  return tail[end] === ELEMENT.EOF && tail[end + 1] === ELEMENT.VM_DESCRIPTION &&
    tail[end - FOOTER_BYTES] === ELEMENT.SECTION_FOOTER;
}

/** Whether it can be JSON: another description's head, in one that a device's bytes look like, is not. */
function isText(tail: Uint8Array, start: number, length: number): boolean {
  const end = start + length;
  if (end > tail.length || tail[start] !== OPENING_BRACE) return false;
  if (tail[end - 1] !== CLOSING_BRACE) return false;
  for (let at = start; at < end; at++) {
    const byte = tail[at]!;
    if (byte < 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return false;
  }
  return true;
}

function tailAt(tail: Uint8Array, { end, length }: Description): DeviceStateTail {
  const text = tail.subarray(end + BEFORE_TEXT, end + BEFORE_TEXT + length);
  return { devices: tail.subarray(0, end), description: new TextDecoder().decode(text) };
}

/** Whether the sections are those that the description lists, as long as it says, and end where it begins. */
function fits({ devices, description }: DeviceStateTail): boolean {
  try {
    const described = parseVmDescription(description!);
    const sizes = new Map(
      described.devices.map(({ name, instance, size }) => [`${name} ${instance}`, size]),
    );
    return deviceSections(devices, described).every(({ name, instance, size }) =>
      sizes.get(`${name} ${instance}`) === size
    );
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}

/**
 * Without a description: the last section ends at a footer of its own with an EOF byte behind it. Of
 * several such places the one that only zeros follow is taken, else the first.
 */
function bareTail(tail: Uint8Array): DeviceStateTail | undefined {
  const last = searchLastSection(tail);
  if (last === undefined) return undefined;
  const zerosFrom = zerosAtEnd(tail);
  let first = -1;
  let at = tail.indexOf(ELEMENT.SECTION_FOOTER, last.start);
  for (; at >= 0; at = tail.indexOf(ELEMENT.SECTION_FOOTER, at + 1)) {
    const end = at + FOOTER_BYTES;
    if (end >= tail.length || !isFooter(tail, at, last.id) || tail[end] !== ELEMENT.EOF) continue;
    if (first < 0) first = end;
    if (end >= zerosFrom) return { devices: tail.subarray(0, end) };
  }
  return first < 0 ? undefined : { devices: tail.subarray(0, first) };
}

/** Where the zeros begin that a volume is padded with. */
function zerosAtEnd(tail: Uint8Array): number {
  let at = tail.length;
  while (at > 0 && tail[at - 1] === 0) at--;
  return at;
}
