/** Devices with random fields: their description, their bytes, and the tree that must come out. */

import type { DescribedField, DescribedStructure } from "../../migration/device/described_state.ts";
import type { FieldValue } from "../../migration/device/field_values.ts";
import type { Random } from "../support/random.ts";

/** A device made up at random. */
export interface RandomDevice {
  /** As it would be in the description's `devices`. */
  readonly description: object;
  /** Its section's payload. */
  readonly payload: Uint8Array;
  /** What reading it must give. */
  readonly tree: DescribedStructure;
}

/** A structure as a description has it. */
interface Shape {
  vmsd_name: string;
  version: number;
  fields: FieldShape[];
  subsections?: Shape[];
}

interface FieldShape extends Partial<Shape> {
  name: string;
  type: string;
  size: number;
  array_len?: number;
  struct?: Shape;
}

const MAX_DEPTH = 3;
const STRUCTURES = ["struct", "struct", "tmp", "vstruct"] as const;
const TYPES = [
  ...["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
  ...["int32 equal", "uint16 equal", "int32 le", "bool", "timer", "nullptr", "buffer", "bitmap"],
] as const;

/** Makes a device with some fields, arrays, structures and subsections; never of 0 bytes. */
export function randomDevice(random: Random): RandomDevice {
  const shape = randomShape(random, "random", 0);
  const bytes: number[] = [];
  const tree = write(random, bytes, shape);
  return { description: shape, payload: Uint8Array.from(bytes), tree };
}

function randomShape(random: Random, name: string, depth: number): Shape {
  const count = random.between(1, 4);
  const subsections = depth < MAX_DEPTH && random.oneIn(4)
    ? [randomShape(random, `${name}/s`, depth + 1)]
    : undefined;
  return {
    vmsd_name: name,
    version: 1,
    fields: Array.from({ length: count }, (_, i) => randomField(random, `${name}${i}`, depth)),
    ...(subsections && { subsections }),
  };
}

function randomField(random: Random, name: string, depth: number): FieldShape {
  const array = random.oneIn(3) ? { array_len: random.between(1, 5) } : {};
  if (depth < MAX_DEPTH && random.oneIn(3)) {
    const type = random.pick(STRUCTURES);
    const shape = randomShape(random, name, depth + 1);
    const inner = type === "struct" ? { struct: shape } : shape;
    return { name, type, size: sizeOf(shape), ...array, ...inner };
  }
  const type = random.pick(TYPES);
  return { name, type, size: sizeOfType(type) ?? random.between(1, 20), ...array };
}

function sizeOf({ fields, subsections = [] }: Shape): number {
  const inFields = fields.reduce((sum, { size, array_len = 1 }) => sum + size * array_len, 0);
  return subsections.reduce(
    (sum, shape) => sum + 6 + shape.vmsd_name.length + sizeOf(shape),
    inFields,
  );
}

function sizeOfType(type: string): number | undefined {
  if (type === "bool" || type === "nullptr") return 1;
  if (type === "timer") return 8;
  const bits = /int(\d+)/.exec(type)?.[1];
  return bits === undefined ? undefined : Number(bits) / 8;
}

function write(
  random: Random,
  bytes: number[],
  { vmsd_name: name, version, fields, subsections = [] }: Shape,
): DescribedStructure {
  const offset = bytes.length;
  const written = fields.map((field) => writeField(random, bytes, field));
  const behind = subsections.map((shape) => {
    const start = bytes.length;
    const encoded = new TextEncoder().encode(shape.vmsd_name);
    bytes.push(5, encoded.length, ...encoded, 0, 0, 0, shape.version);
    return { ...write(random, bytes, shape), offset: start, size: bytes.length - start };
  });
  const size = bytes.length - offset;
  return { name, version, offset, size, fields: written, subsections: behind };
}

function writeField(random: Random, bytes: number[], field: FieldShape): DescribedField {
  const { name, type, size, array_len: length } = field;
  const place = { name, type, offset: bytes.length, size: size * (length ?? 1) };
  const count = { length: length ?? 1 };
  const shape = type === "struct" ? field.struct : field.fields && field as Shape;
  if (shape !== undefined) {
    const structures = Array.from(count, () => write(random, bytes, shape));
    return length === undefined
      ? { ...place, structure: structures[0]! }
      : { ...place, structures };
  }
  const values = Array.from(count, () => writeValue(random, bytes, type, size));
  return length === undefined ? { ...place, value: values[0]! } : { ...place, values };
}

function writeValue(random: Random, bytes: number[], type: string, size: number): FieldValue {
  if (type === "nullptr") {
    bytes.push("0".charCodeAt(0));
    return null;
  }
  if (type === "bool") {
    const value = random.oneIn(2);
    bytes.push(value ? 1 : 0);
    return value;
  }
  const value = random.bytes(size);
  if (random.oneIn(4)) value.fill(0xff);
  bytes.push(...value);
  if (sizeOfType(type) === undefined) return value;
  const view = new DataView(value.buffer);
  const signed = type.startsWith("int") || type === "timer";
  switch (size) {
    case 1:
      return signed ? view.getInt8(0) : view.getUint8(0);
    case 2:
      return signed ? view.getInt16(0) : view.getUint16(0);
    case 4:
      return signed ? view.getInt32(0) : view.getUint32(0);
    default:
      return signed ? view.getBigInt64(0) : view.getBigUint64(0);
  }
}
