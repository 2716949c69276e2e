/**
 * A device's description as the code that saves, loads and describes walks through it, without the types
 * of the state: description.ts makes it and vouches for them.
 */

/** How a field's bytes are read; numbers, so that a `switch` over them is a jump. */
export const FIELD_KIND = {
  U8: 0,
  I8: 1,
  U16: 2,
  I16: 3,
  U32: 4,
  I32: 5,
  U64: 6,
  I64: 7,
  SAFE_U64: 8,
  SAFE_I64: 9,
  BOOL: 10,
  /** Raw bytes. Always `many`: elements of one byte. */
  BYTES: 11,
  /** Nothing: bytes that are skipped. */
  UNUSED: 12,
  STRUCTURE: 13,
} as const;

/** One of {@linkcode FIELD_KIND}. */
export type FieldKind = typeof FIELD_KIND[keyof typeof FIELD_KIND];

/** Any state: the object that holds the values of fields by their names. */
export type State = Record<string, unknown>;

/** What a field is, before it has a name. */
export interface FieldFormat {
  /** How its bytes are read, or those of its elements. */
  readonly kind: FieldKind;
  /** QEMU's name of the type, for the VMDESCRIPTION. */
  readonly type: string;
  /** Bytes of the value or of one element; 0 for structures, which know themselves. */
  readonly size: number;
  /** An array. */
  readonly many: boolean;
  /** Elements of an array of fixed length. */
  readonly length: number;
  /** Name of the field that counts the elements; undefined for fixed length. */
  readonly counter: string | undefined;
  /** Elements at most where they are counted. */
  readonly maximum: number;
  /** What a structure consists of. */
  readonly structure: Structure | undefined;
  /** Version by which a structure is read: the stream has none for it. */
  readonly structureVersion: number;
  /** First version of the device that has the field. */
  readonly since: number;
}

/** A field of a structure. All are made by {@linkcode step}, so that V8 sees one shape. */
export interface Step extends FieldFormat {
  /** Name, and key in the state. */
  readonly key: string;
  /** Is it in the stream? Asked with what was loaded up to here; undefined for always. */
  readonly when: ((state: State, version: number) => boolean) | undefined;
}

/** A device, a structure in it, or a subsection. */
export interface Structure {
  /** QEMU's vmsd name; that of a subsection begins with the name of what it belongs to and a slash. */
  readonly name: string;
  /** Version that is saved, and the highest that is loaded. */
  readonly version: number;
  /** The lowest version that is loaded. */
  readonly minimumVersion: number;
  /** Fields in the order of the stream. */
  readonly steps: readonly Step[];
  /** Bytes that it takes at least, whatever its conditions say. */
  readonly minimumSize: number;
  /** Every element of an array of it has the same bytes. */
  readonly uniform: boolean;
  /** Parts that are in the stream only when needed; they share the state. */
  readonly subsections: readonly Structure[];
  /** The name and a slash in UTF-8: how its subsections' names begin. */
  readonly prefix: Uint8Array;
  /** Is it saved? Undefined for always. */
  readonly needed: ((state: State) => boolean) | undefined;
  /** Runs before its fields are saved. */
  readonly preSave: ((state: State) => void) | undefined;
  /** Runs when its fields and subsections are loaded. */
  readonly postLoad: ((state: State, version: number) => void) | undefined;
  /** Makes a state of it. */
  readonly create: () => State;
}

/** A field with its name and its condition. */
export function step(key: string, field: FieldFormat, when: Step["when"]): Step {
  return {
    key,
    when,
    kind: field.kind,
    type: field.type,
    size: field.size,
    many: field.many,
    length: field.length,
    counter: field.counter,
    maximum: field.maximum,
    structure: field.structure,
    structureVersion: field.structureVersion,
    since: field.since,
  };
}
