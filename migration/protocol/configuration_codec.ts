/** The configuration as bytes, with its subsections. */

import { readU32 } from "./byte_order.ts";
import type { ByteWriter } from "./byte_writer.ts";
import type { Configuration } from "./configuration.ts";
import { ELEMENT, MAX_CAPABILITIES, MAX_MACHINE_BYTES, TARGET_PAGE_BITS } from "./constants.ts";
import { decodeName } from "./names.ts";
import { ProtocolError } from "./protocol_error.ts";

const PAGE_BITS = "configuration/target-page-bits";
const CAPABILITIES = "configuration/capabilities";
const UUID = "configuration/uuid";
/** The subsections in the order QEMU sends them (docs/protocol.md section 1.2). */
const SUBSECTIONS = [PAGE_BITS, CAPABILITIES, UUID];
const SUBSECTION_VERSION = 1;
const UUID_BYTES = 16;

/**
 * Collects the CONFIGURATION element piece by piece: its subsections have no end mark, so it is only
 * complete when the next element's type is seen.
 */
export class ConfigurationDecoder {
  #machine = "";
  #targetPageBits: number | undefined;
  #capabilities: string[] | undefined;
  #uuid: Uint8Array | undefined;
  #subsectionsSeen = 0;

  /** What was collected. */
  get configuration(): Configuration {
    return {
      machine: this.#machine,
      ...(this.#targetPageBits === undefined ? {} : { targetPageBits: this.#targetPageBits }),
      ...(this.#capabilities === undefined ? {} : { capabilities: this.#capabilities }),
      ...(this.#uuid === undefined ? {} : { uuid: this.#uuid }),
    };
  }

  /**
   * Decodes the element's type byte and machine name at `bytes[start]`.
   *
   * @param offset Stream offset of `bytes[start]`.
   * @returns Where the subsections begin; `start` when bytes are missing.
   */
  machine(bytes: Uint8Array, start: number, end: number, offset: number): number {
    const at = start + 1;
    if (end - at < 4) return start;
    const length = readU32(bytes, at);
    if (length > MAX_MACHINE_BYTES) {
      throw bad(offset + 1, `a machine name of at most ${MAX_MACHINE_BYTES} bytes`, `${length}`);
    }
    if (end - at - 4 < length) return start;
    const name = bytes.slice(at + 4, at + 4 + length);
    this.#machine = decodeName(name, offset + 5, "a machine type");
    return at + 4 + length;
  }

  /**
   * Decodes the subsection at `bytes[start]`, which is its type byte.
   *
   * @param offset Stream offset of `bytes[start]`.
   * @returns Where it ends; `start` when bytes are missing.
   */
  subsection(bytes: Uint8Array, start: number, end: number, offset: number): number {
    if (end - start < 2) return start;
    const nameLength = bytes[start + 1]!;
    const at = start + 2 + nameLength;
    if (end - at < 4) return start;
    const name = decodeName(bytes.slice(start + 2, at), offset + 1, "a subsection");
    const index = SUBSECTIONS.indexOf(name, this.#subsectionsSeen);
    if (index < 0) {
      throw bad(offset + 1, "a known subsection of the configuration in its place", name);
    }
    const version = readU32(bytes, at);
    if (version !== SUBSECTION_VERSION) {
      throw bad(offset + at - start, `version 1 of ${name}`, `version ${version}`);
    }
    const fields = at + 4;
    const fieldsOffset = offset + fields - start;
    const next = name === PAGE_BITS
      ? this.#readPageBits(bytes, fields, end, fieldsOffset)
      : name === CAPABILITIES
      ? this.#readCapabilities(bytes, fields, end, fieldsOffset)
      : this.#readUuid(bytes, fields, end);
    if (next < 0) return start;
    this.#subsectionsSeen = index + 1;
    return next;
  }

  #readPageBits(bytes: Uint8Array, at: number, end: number, offset: number): number {
    if (end - at < 4) return -1;
    const bits = readU32(bytes, at);
    if (bits < TARGET_PAGE_BITS.MIN || bits > TARGET_PAGE_BITS.MAX) {
      throw bad(
        offset,
        `target page bits from ${TARGET_PAGE_BITS.MIN} to ${TARGET_PAGE_BITS.MAX}`,
        `${bits}`,
      );
    }
    this.#targetPageBits = bits;
    return at + 4;
  }

  #readCapabilities(bytes: Uint8Array, start: number, end: number, offset: number): number {
    if (end - start < 4) return -1;
    const count = readU32(bytes, start);
    if (count > MAX_CAPABILITIES) {
      throw bad(offset, `at most ${MAX_CAPABILITIES} capabilities`, `${count}`);
    }
    const names: string[] = [];
    let at = start + 4;
    for (let i = 0; i < count; i++) {
      if (at >= end || end - at - 1 < bytes[at]!) return -1;
      const next = at + 1 + bytes[at]!;
      names.push(decodeName(bytes.slice(at + 1, next), offset + at - start, "a capability"));
      at = next;
    }
    this.#capabilities = names;
    return at;
  }

  #readUuid(bytes: Uint8Array, at: number, end: number): number {
    if (end - at < UUID_BYTES) return -1;
    this.#uuid = bytes.slice(at, at + UUID_BYTES);
    return at + UUID_BYTES;
  }
}

/**
 * Appends the CONFIGURATION element.
 *
 * @throws {RangeError} When a part is too long or out of range.
 */
export function encodeConfiguration(writer: ByteWriter, configuration: Configuration): void {
  const { machine, targetPageBits, capabilities, uuid } = configuration;
  const name = new TextEncoder().encode(machine);
  if (name.length === 0 || name.length > MAX_MACHINE_BYTES) {
    throw new RangeError(
      `Cannot encode a machine type of other than 1 to ${MAX_MACHINE_BYTES} bytes: ${machine}`,
    );
  }
  writer.u8(ELEMENT.CONFIGURATION);
  writer.u32(name.length);
  writer.bytes(name);
  if (targetPageBits !== undefined) {
    if (targetPageBits < TARGET_PAGE_BITS.MIN || targetPageBits > TARGET_PAGE_BITS.MAX) {
      throw new RangeError(`Cannot encode target page bits: ${targetPageBits}`);
    }
    subsection(writer, PAGE_BITS);
    writer.u32(targetPageBits);
  }
  if (capabilities !== undefined) {
    if (capabilities.length > MAX_CAPABILITIES) {
      throw new RangeError(
        `Cannot encode more than ${MAX_CAPABILITIES} capabilities: ${capabilities.length}`,
      );
    }
    subsection(writer, CAPABILITIES);
    writer.u32(capabilities.length);
    for (const capability of capabilities) writer.name(capability);
  }
  if (uuid !== undefined) {
    if (uuid.length !== UUID_BYTES) {
      throw new RangeError(`Cannot encode a UUID of other than 16 bytes: ${uuid.length}`);
    }
    subsection(writer, UUID);
    writer.bytes(uuid);
  }
}

function subsection(writer: ByteWriter, name: string): void {
  writer.u8(ELEMENT.SUBSECTION);
  writer.name(name);
  writer.u32(SUBSECTION_VERSION);
}

function bad(offset: number, expected: string, found: string): ProtocolError {
  return new ProtocolError("bad-configuration", offset, expected, found);
}
