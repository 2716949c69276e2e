/** The device state of a stream: its sections, which carry no length. */

import { readU32 } from "./byte_order.ts";
import { ELEMENT } from "./constants.ts";
import { decodeName } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";
import { StreamEncoder } from "./stream_encoder.ts";
import type { VmDescription } from "./vm_description.ts";

/** The opaque end of a stream, taken apart. */
export interface DeviceStateTail {
  /** SECTION_FULL elements as they are, ready for a package. */
  readonly devices: Uint8Array;
  /** JSON of the VMDESCRIPTION; absent for machines that suppress it. See `parseVmDescription`. */
  readonly description?: string;
}

/** A device's section inside the device state. */
export interface DeviceSection {
  /** Section id as the source numbered it. */
  readonly id: number;
  /** Name of the device. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** Version of the state. */
  readonly version: number;
  /** Where the payload begins in the device state, bytes. */
  readonly start: number;
  /** Bytes of the payload. */
  readonly size: number;
}

/** Type and section id behind every section. */
export const FOOTER_BYTES = 5;

/**
 * Puts the end of a stream together whose memory is all sent: what `splitDeviceState` takes apart.
 */
export function joinDeviceState(
  { devices, description }: DeviceStateTail,
): Uint8Array<ArrayBuffer> {
  const encoder = new StreamEncoder();
  encoder.deviceState(devices, 0, devices.length);
  encoder.endOfStream();
  if (description !== undefined) {
    const json = new TextEncoder().encode(description);
    encoder.vmDescription(json.length);
    encoder.vmDescriptionData(json, 0, json.length);
  }
  return encoder.take();
}

/**
 * Lists the sections of a device state.
 *
 * Where a section ends is taken from the description when its size leads to the section's footer, or
 * else searched: the first footer of that id behind which another section begins or the state ends. The
 * search can be fooled by a device's own bytes, the description cannot.
 *
 * @throws {ProtocolError} When the bytes are not sections; offsets are from the start of the state.
 */
export function deviceSections(
  devices: Uint8Array,
  description?: VmDescription,
): DeviceSection[] {
  const sections: DeviceSection[] = [];
  const sizes = new Map<string, number>();
  for (const { name, instance, size } of description?.devices ?? []) {
    sizes.set(`${name} ${instance}`, size);
  }
  let at = 0;
  while (at < devices.length) {
    const head = sectionHead(devices, at);
    if (head === undefined) {
      const found = hex(devices[at]!);
      throw bad("bad-section", at, "the head of a device's section", found);
    }
    const { id, name, instance } = head;
    const size = sizes.get(`${name} ${instance}`);
    const described = size !== undefined && endsSection(devices, head.start + size, id);
    const end = described ? head.start + size : searchFooter(devices, head.start, id);
    if (end < 0) {
      throw bad("truncated", devices.length, `the footer of section ${id}, ${name}`, "the end");
    }
    sections.push({ ...head, size: end - head.start });
    at = end + FOOTER_BYTES;
  }
  return sections;
}

/** Where a section's footer is, -1 if nowhere; `inner` when one at the very end does not count. */
function searchFooter(devices: Uint8Array, start: number, id: number, inner = false): number {
  let at = devices.indexOf(ELEMENT.SECTION_FOOTER, start);
  while (at >= 0 && !endsSection(devices, at, id)) {
    at = devices.indexOf(ELEMENT.SECTION_FOOTER, at + 1);
  }
  return inner && at + FOOTER_BYTES === devices.length ? -1 : at;
}

/** Is the footer of section `id` at `at`, and behind it another section or nothing? */
function endsSection(devices: Uint8Array, at: number, id: number): boolean {
  const next = at + FOOTER_BYTES;
  if (next > devices.length || !isFooter(devices, at, id)) return false;
  return next === devices.length || sectionHead(devices, next) !== undefined;
}

/** Is the footer of section `id` at `at`? All its bytes are there. */
export function isFooter(devices: Uint8Array, at: number, id: number): boolean {
  return devices[at] === ELEMENT.SECTION_FOOTER && readU32(devices, at + 1) === id;
}

/**
 * Goes from section to section, by footers with another section behind them, to the last one: behind its
 * footer there may be anything.
 *
 * @returns its id, and where its payload begins; undefined when there is no section
 */
export function searchLastSection(bytes: Uint8Array): { id: number; start: number } | undefined {
  let last: { id: number; start: number } | undefined;
  for (let at = 0;;) {
    const head = sectionHead(bytes, at);
    if (head === undefined) return last;
    last = head;
    at = searchFooter(bytes, head.start, head.id, true);
    if (at < 0) return last;
    at += FOOTER_BYTES;
  }
}

/** The head of a SECTION_FULL at `at`, without its payload's size; undefined when there is none. */
function sectionHead(devices: Uint8Array, at: number): Omit<DeviceSection, "size"> | undefined {
  if (devices[at] !== ELEMENT.SECTION_FULL || devices.length - at < 6) return undefined;
  const nameLength = devices[at + 5]!;
  const start = at + 6 + nameLength + 8;
  if (nameLength === 0 || start > devices.length) return undefined;
  for (let i = at + 6; i < at + 6 + nameLength; i++) {
    // Names of devices are printable; payload bytes that look like a head seldom are.
    if (devices[i]! < 0x20) return undefined;
  }
  let name: string;
  try {
    name = decodeName(devices.subarray(at + 6, at + 6 + nameLength), at + 5, "a device");
  } catch {
    return undefined;
  }
  return {
    id: readU32(devices, at + 1),
    name,
    instance: readU32(devices, start - 8),
    version: readU32(devices, start - 4),
    start,
  };
}

function bad(
  code: "bad-section" | "truncated",
  offset: number,
  expected: string,
  found: string,
): ProtocolError {
  return new ProtocolError(code, offset, expected, found, "device state");
}
