/**
 * A device's fields with their values, by the description that a stream carries of itself: QEMU's
 * VMDESCRIPTION (docs/protocol.md section 1.5), and those of this project, which have its form.
 */

import { readU32 } from "../protocol/byte_order.ts";
import { ELEMENT } from "../protocol/constants.ts";
import type { DescribedField, DescribedStructure, FieldPlace } from "./described_state.ts";
import { DescriptionError, type DescriptionErrorCode } from "./description_error.ts";
import {
  type FieldValue,
  isBadValue,
  NULL_POINTER,
  sizeOfType,
  valueReader,
} from "./field_values.ts";

/** A section as it is in the stream. */
export interface SectionPayload {
  /** Name of the device. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** Version in the section's head. */
  readonly version: number;
  /** The section's bytes without its head and footer. */
  readonly payload: Uint8Array;
}

type JsonObject = Readonly<Record<string, unknown>>;

/** Ours: what QEMU describes is some five deep. Bounds the recursion. */
const MAX_DEPTH = 32;
/** Ours: bounds what elements without bytes can cost. QEMU's largest has some 17,000 (ICH9LPC). */
const MAX_VALUES = 2 ** 20;

/**
 * Reads a section by its description. Every byte of the section is in exactly one field or the head of
 * a subsection, or else it is an error: a description that fits only in part would give wrong values.
 *
 * One thing no check can find: of an array, QEMU describes the first element only. Should others be
 * made up differently, and all the same add up to the same size, their values are read wrongly.
 *
 * @param description one of the `devices` in the description's JSON
 * @param section what it describes
 * @returns the fields; values that are bytes are views of the payload
 * @throws {DescriptionError} When it cannot be read so.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { describeFields } from "./described_fields.ts";
 *
 * const fields = [{ name: "irr", array_len: 2, type: "uint16", size: 2 }];
 * const payload = Uint8Array.of(0x12, 0x34, 0, 1);
 * const state = describeFields({ fields }, { name: "pic", instance: 0, version: 1, payload });
 * assertEquals(state.fields, [
 *   { name: "irr", type: "uint16", offset: 0, size: 4, values: [0x1234, 1] },
 * ]);
 * ```
 */
export function describeFields(description: unknown, section: SectionPayload): DescribedStructure {
  return new FieldReader(section).device(description);
}

class FieldReader {
  readonly #section: SectionPayload;
  readonly #payload: Uint8Array;
  /** Names of the fields around the present place, outermost first. */
  readonly #path: string[] = [];
  #at = 0;
  #valuesLeft = MAX_VALUES;

  constructor(section: SectionPayload) {
    this.#section = section;
    this.#payload = section.payload;
  }

  device(description: unknown): DescribedStructure {
    const source = this.#object(description, "an object for the device");
    const { version, payload } = this.#section;
    const described = this.#whole(source["version"] ?? version, "version");
    if (described !== version) {
      throw this.#error("mismatch", `version ${described}`, `version ${version}`);
    }
    const structure = this.#structure(source, 0, payload.length);
    if (this.#at === payload.length) return structure;
    throw this.#error("mismatch", "the section's end", `${payload.length - this.#at} more bytes`);
  }

  /** Reads fields and subsections, which begin here; `offset` is where the structure does. */
  #structure(source: JsonObject, offset: number, end: number): DescribedStructure {
    if (this.#path.length > MAX_DEPTH) {
      throw this.#error("bad-description", `fields at most ${MAX_DEPTH} deep`, "deeper ones");
    }
    const name = this.#text(source["vmsd_name"] ?? "", "vmsd_name");
    const version = source["version"];
    const indices = firstIndices(this.#list(source["fields"] ?? [], "fields"));
    const fields: DescribedField[] = [];
    for (const [field, index] of indices) fields.push(this.#field(field, index, end));
    const subsections: DescribedStructure[] = [];
    for (const value of this.#list(source["subsections"] ?? [], "subsections")) {
      subsections.push(this.#subsection(value, end));
    }
    return {
      name,
      ...(version === undefined ? {} : { version: this.#whole(version, "version") }),
      offset,
      size: this.#at - offset,
      fields,
      subsections,
    };
  }

  #field(value: unknown, index: number | undefined, end: number): DescribedField {
    const source = this.#object(value, "an object for a field");
    const name = this.#text(source["name"], "name of a field");
    this.#path.push(index === undefined ? name : `${name}[${index}]`);
    const type = this.#text(source["type"], "type");
    const size = this.#whole(source["size"], "size");
    const count = source["array_len"];
    const length = count === undefined ? undefined : this.#whole(count, "array_len");
    const offset = this.#at;
    this.#requireBytes(size * (length ?? 1), end);
    const given = source["index"];
    const first = given === undefined ? index : this.#whole(given, "index");
    const place: FieldPlace = {
      name,
      ...(first === undefined ? {} : { index: first }),
      type,
      offset,
      size: size * (length ?? 1),
    };
    const inner = this.#innerStructure(source, type, size);
    const field = inner === undefined
      ? { ...place, ...this.#values(type, size, length) }
      : { ...place, ...this.#structures(inner, size, length) };
    this.#path.pop();
    return field;
  }

  /**
   * The description of the structure that a field is, or undefined for any other field. A structure of
   * `vstruct` and `tmp` is described in the field itself, all others in `struct`. Other types may have
   * fields too (QEMU's lists and trees), but these are in the stream with more between them.
   */
  #innerStructure(source: JsonObject, type: string, size: number): JsonObject | undefined {
    if (type === "vstruct" || type === "tmp") return source;
    if (type !== "struct") return undefined;
    const inner = this.#object(source["struct"], "an object for struct");
    // Before 9.2, QEMU describes an element that is a pointer to nothing so.
    const nothing = inner["fields"] === undefined && size === 1 &&
      this.#payload[this.#at] === NULL_POINTER;
    return nothing ? undefined : inner;
  }

  #structures(
    source: JsonObject,
    size: number,
    length: number | undefined,
  ): { structure: DescribedStructure } | { structures: DescribedStructure[] } {
    this.#count(length ?? 1);
    if (length === undefined) return { structure: this.#element(source, size) };
    const structures: DescribedStructure[] = [];
    const name = this.#path.pop()!;
    for (let i = 0; i < length; i++) {
      this.#path.push(`${name}[${i}]`);
      structures.push(this.#element(source, size));
      this.#path.pop();
    }
    this.#path.push(name);
    return { structures };
  }

  #element(source: JsonObject, size: number): DescribedStructure {
    const end = this.#at + size;
    const structure = this.#structure(source, this.#at, end);
    if (this.#at === end) return structure;
    throw this.#error("bad-description", `fields of ${size} bytes`, `${structure.size} bytes`);
  }

  #values(
    type: string,
    size: number,
    length: number | undefined,
  ): { value: FieldValue } | { values: FieldValue[] } {
    const inStream = type === "struct" ? "nullptr" : type;
    const needed = sizeOfType(inStream) ?? size;
    if (needed !== size) {
      throw this.#error("bad-description", `${needed} bytes of type ${type}`, `${size}`);
    }
    const read = valueReader(inStream);
    const values: FieldValue[] = [];
    this.#count(length ?? 1);
    for (let i = 0; i < (length ?? 1); i++) {
      const value = read(this.#payload, this.#at, size);
      if (isBadValue(value)) throw this.#error("mismatch", value.expected, value.found);
      values.push(value);
      this.#at += size;
    }
    return length === undefined ? { value: values[0]! } : { values };
  }

  #subsection(value: unknown, end: number): DescribedStructure {
    const source = this.#object(value, "an object for a subsection");
    const name = this.#text(source["vmsd_name"], "vmsd_name of a subsection");
    const version = this.#whole(source["version"], "version of a subsection");
    this.#path.push(name);
    const offset = this.#at;
    const encoded = new TextEncoder().encode(name);
    // Type, counted name, version.
    this.#requireBytes(1 + 1 + encoded.length + 4, end);
    const payload = this.#payload;
    const named = payload[offset] === ELEMENT.SUBSECTION &&
      payload[offset + 1] === encoded.length &&
      encoded.every((byte, i) => payload[offset + 2 + i] === byte);
    if (!named) throw this.#error("mismatch", "the head of this subsection", "other bytes");
    const found = readU32(payload, offset + 2 + encoded.length);
    if (found !== version) {
      throw this.#error("mismatch", `version ${version}`, `version ${found}`);
    }
    this.#at = offset + 2 + encoded.length + 4;
    const structure = this.#structure(source, offset, end);
    this.#path.pop();
    return structure;
  }

  #requireBytes(size: number, end: number): void {
    const left = end - this.#at;
    if (size <= left) return;
    const within = end === this.#payload.length ? "its section" : "the structure around it";
    throw this.#error("mismatch", `${size} bytes`, `${left} up to the end of ${within}`);
  }

  #count(values: number): void {
    this.#valuesLeft -= values;
    if (this.#valuesLeft >= 0) return;
    throw this.#error("bad-description", `at most ${MAX_VALUES} values`, "more");
  }

  #object(value: unknown, expected: string): JsonObject {
    if (typeof value === "object" && value !== null) return value as JsonObject;
    throw this.#error("bad-description", expected, show(value));
  }

  #list(value: unknown, what: string): readonly unknown[] {
    if (Array.isArray(value)) return value;
    throw this.#error("bad-description", `a list of ${what}`, show(value));
  }

  #text(value: unknown, what: string): string {
    if (typeof value === "string") return value;
    throw this.#error("bad-description", `a text for ${what}`, show(value));
  }

  #whole(value: unknown, what: string): number {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#error("bad-description", `a whole number for ${what}`, show(value));
  }

  #error(code: DescriptionErrorCode, expected: string, found: string): DescriptionError {
    const field = this.#path.join(" > ");
    return new DescriptionError(code, this.#section, field, this.#at, expected, found);
  }
}

/** What stands in the JSON instead of what was expected; an object's own `toString` is not called. */
function show(value: unknown): string {
  if (typeof value !== "object" || value === null) return `${value}`;
  return Array.isArray(value) ? "a list" : "an object";
}

/**
 * Pairs fields with their index in an array, where several in a row have one name: QEMU gives each
 * field of a structure a name of its own, and describes an array of elements that differ as several
 * fields, or runs of elements (7.2 numbers them, later versions do not).
 */
function firstIndices(fields: readonly unknown[]): [field: unknown, index: number | undefined][] {
  const nameOf = (field: unknown) => (field as { name?: unknown } | null | undefined)?.name;
  const lengthOf = (field: unknown) => {
    const length = (field as { array_len?: unknown }).array_len;
    return typeof length === "number" ? length : 1;
  };
  let index = 0;
  return fields.map((field, i) => {
    const name = nameOf(field);
    const follows = i > 0 && name !== undefined && nameOf(fields[i - 1]) === name;
    const leads = name !== undefined && i + 1 < fields.length && nameOf(fields[i + 1]) === name;
    index = follows ? index + lengthOf(fields[i - 1]) : 0;
    return [field, follows || leads ? index : undefined];
  });
}
