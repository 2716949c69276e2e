/** A device's state as a tree of fields with their values. */

import type { FieldValue } from "./field_values.ts";

/** A device's state, a structure in it, an element of an array of structures, or a subsection. */
export interface DescribedStructure {
  /** What kind of structure it is; empty when the description does not say. */
  readonly name: string;
  /** Version of its layout; absent when the description does not say. */
  readonly version?: number;
  /** Where it begins in the section's payload, in bytes; a subsection with its head. */
  readonly offset: number;
  /** Bytes of it. */
  readonly size: number;
  /** In the order of the stream. */
  readonly fields: readonly DescribedField[];
  /** Parts that are only there when they are needed, behind the fields. */
  readonly subsections: readonly DescribedStructure[];
}

/** Where a field is. */
export interface FieldPlace {
  /** Name; several fields of one name in a row are elements of one array, see `index`. */
  readonly name: string;
  /** For an element of an array that comes as fields of its own: which, or which is the first. */
  readonly index?: number;
  /** Type as the description names it, for example `uint32`, `buffer`, `struct`. */
  readonly type: string;
  /** Where it begins in the section's payload, in bytes. */
  readonly offset: number;
  /** Bytes of it with all of its elements. */
  readonly size: number;
}

/** A field in a tree of fields, with exactly one of these. */
export type DescribedField =
  & FieldPlace
  & (
    | { readonly value: FieldValue }
    | { readonly values: readonly FieldValue[] }
    | { readonly structure: DescribedStructure }
    | { readonly structures: readonly DescribedStructure[] }
  );
