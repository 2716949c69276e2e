/**
 * Machine code as a table: a label, the bytes, what they do.
 *
 * Written by hand from the Intel SDM volume 2 encodings. A jump or an address names its target, and
 * {@linkcode assemble} fills it in.
 *
 * @module
 */

/** A reference that {@linkcode assemble} fills in: how many bytes, and measured from where. */
export interface Reference {
  readonly kind: "relative8" | "relative32" | "absolute16" | "absolute32";
  readonly target: string;
}

/** One row of machine code: `[label or "", bytes and references, what it does]`. */
export type Row = readonly [label: string, code: readonly (number | Reference)[], note: string];

/** A short jump to a label. */
export const near = (target: string): Reference => ({ kind: "relative8", target });
/** A call or near jump to a label. */
export const call = (target: string): Reference => ({ kind: "relative32", target });
/** A 16-bit address. */
export const at16 = (target: string): Reference => ({ kind: "absolute16", target });
/** A 32-bit address. */
export const at = (target: string): Reference => ({ kind: "absolute32", target });
/** The bytes of a u32, little-endian. */
export const word = (value: number): number[] => [
  value & 255,
  value >>> 8 & 255,
  value >>> 16 & 255,
  value >>> 24,
];

/** Bytes that a reference takes. */
const SIZES = { relative8: 1, relative32: 4, absolute16: 2, absolute32: 4 } as const;

/**
 * Puts the rows' bytes one after the other and fills in their references.
 *
 * @param rows The program.
 * @param origin Address of its first byte.
 * @returns The bytes, and the offset of every label in them.
 * @throws {RangeError} When a label is missing or too far for a short jump.
 */
export function assemble(
  rows: readonly Row[],
  origin: number,
): { bytes: Uint8Array<ArrayBuffer>; labels: Map<string, number> } {
  const labels = new Map<string, number>();
  let size = 0;
  for (const [label, code] of rows) {
    if (label !== "") labels.set(label, size);
    for (const item of code) size += typeof item === "number" ? 1 : SIZES[item.kind];
  }
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let position = 0;
  for (const [, code] of rows) {
    for (const item of code) {
      if (typeof item === "number") {
        bytes[position++] = item;
        continue;
      }
      const target = labels.get(item.target);
      if (target === undefined) {
        throw new RangeError(`Label is nowhere in the code: ${item.target}`);
      }
      const end = position + SIZES[item.kind];
      const distance = target - end;
      switch (item.kind) {
        case "relative8":
          if (distance < -128 || distance > 127) {
            throw new RangeError(`Label is too far for a short jump: ${item.target}`);
          }
          view.setInt8(position, distance);
          break;
        case "relative32":
          view.setInt32(position, distance, true);
          break;
        case "absolute16":
          view.setUint16(position, origin + target, true);
          break;
        case "absolute32":
          view.setUint32(position, origin + target, true);
          break;
      }
      position = end;
    }
  }
  return { bytes, labels };
}
