/** Reading a device's fields and subsections into its state. */

import { readU16, readU32, TWO_TO_32 } from "../protocol/byte_order.ts";
import { FieldError, fieldPath, hookError, within } from "./field_error.ts";
import { newArray } from "./new_state.ts";
import { FIELD_KIND, type State, type Step, type Structure } from "./structure.ts";
import { subsectionHead, versionFault } from "./subsection_head.ts";

/**
 * Reads states from device state, each field into the object that is there. All it allocates are bigints
 * and what the stream counts, and that only when its bytes are there.
 *
 * Its methods throw {@linkcode FieldError}s only.
 */
export class StateReader {
  /** Where the next byte is read. */
  at: number;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #view: DataView;

  /**
   * @param bytes device state
   * @param at where to begin
   */
  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#end = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  /** Reads the fields of a structure and its subsections, and runs its `postLoad`. */
  structure(structure: Structure, state: State, version: number): void {
    const { steps } = structure;
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!;
      if (step.since > version) continue;
      if (step.when !== undefined && !this.#applies(step, state, version)) continue;
      if (step.many) this.#array(step, state);
      else if (step.structure !== undefined) this.#nested(step, step.structure, state);
      else this.#scalar(step, state);
    }
    this.#subsections(structure, state);
    if (structure.postLoad === undefined) return;
    try {
      structure.postLoad(state, version);
    } catch (cause) {
      throw hookError("postLoad", this.at, cause);
    }
  }

  #applies(step: Step, state: State, version: number): boolean {
    try {
      return step.when!(state, version);
    } catch (cause) {
      throw hookError("its condition", this.at, cause, step.key);
    }
  }

  #scalar(step: Step, state: State): void {
    const bytes = this.#bytes;
    const at = this.at;
    const { key, size } = step;
    if (this.#end - at < size) throw this.#truncated(step, size);
    switch (step.kind) {
      case FIELD_KIND.U8:
        state[key] = bytes[at]!;
        break;
      case FIELD_KIND.I8:
        state[key] = (bytes[at]! << 24) >> 24;
        break;
      case FIELD_KIND.U16:
        state[key] = readU16(bytes, at);
        break;
      case FIELD_KIND.I16:
        state[key] = (readU16(bytes, at) << 16) >> 16;
        break;
      case FIELD_KIND.U32:
        state[key] = readU32(bytes, at);
        break;
      case FIELD_KIND.I32:
        state[key] = readU32(bytes, at) | 0;
        break;
      case FIELD_KIND.U64:
        state[key] = this.#view.getBigUint64(at);
        break;
      case FIELD_KIND.I64:
        state[key] = this.#view.getBigInt64(at);
        break;
      case FIELD_KIND.SAFE_U64:
        state[key] = this.#safe(step, -1, at, readU32(bytes, at));
        break;
      case FIELD_KIND.SAFE_I64:
        state[key] = this.#safe(step, -1, at, readU32(bytes, at) | 0);
        break;
      case FIELD_KIND.BOOL:
        state[key] = this.#bool(step, -1, at);
        break;
    }
    this.at = at + size;
  }

  /**
   * The number of 64 bits at `at`, whose upper half is given with or without a sign.
   *
   * @param index of the element; -1 for no array
   */
  #safe(step: Step, index: number, at: number, high: number): number {
    const value = high * TWO_TO_32 + readU32(this.#bytes, at + 4);
    if (Number.isSafeInteger(value)) return value;
    const found = `0x${this.#view.getBigUint64(at).toString(16)}`;
    const expected = "less than 2^53, whatever its sign";
    throw new FieldError("bad-value", fieldPath(step.key, index), at, expected, found);
  }

  #bool(step: Step, index: number, at: number): boolean {
    const byte = this.#bytes[at]!;
    if (byte <= 1) return byte === 1;
    const path = fieldPath(step.key, index);
    throw new FieldError("bad-value", path, at, "0 or 1 for a bool", `${byte}`);
  }

  #nested(step: Step, structure: Structure, state: State): void {
    try {
      this.structure(structure, state[step.key] as State, step.structureVersion);
    } catch (error) {
      throw within(step.key, error, this.at);
    }
  }

  #array(step: Step, state: State): void {
    const count = step.counter === undefined ? step.length : this.#count(step, state);
    if (step.structure !== undefined) {
      this.#structures(step, step.structure, state, count);
      return;
    }
    const length = count * step.size;
    if (this.#end - this.at < length) throw this.#truncated(step, length);
    let values = state[step.key] as ArrayLike<unknown>;
    if (values === undefined || values.length !== count) {
      if (step.counter === undefined) throw this.#wrongLength(step, values);
      values = state[step.key] = newArray(step.kind, count);
    }
    this.#values(step, values, count);
    this.at += length;
  }

  /** Reads the elements of an array; their bytes are there. */
  #values(step: Step, values: ArrayLike<unknown>, count: number): void {
    const bytes = this.#bytes;
    let at = this.at;
    switch (step.kind) {
      case FIELD_KIND.U16:
      case FIELD_KIND.I16: {
        const to = values as Uint16Array | Int16Array;
        for (let i = 0; i < count; i++, at += 2) to[i] = (bytes[at]! << 8) | bytes[at + 1]!;
        break;
      }
      case FIELD_KIND.U32:
      case FIELD_KIND.I32: {
        const to = values as Uint32Array | Int32Array;
        for (let i = 0; i < count; i++, at += 4) to[i] = readU32(bytes, at);
        break;
      }
      case FIELD_KIND.U64: {
        const to = values as BigUint64Array;
        for (let i = 0; i < count; i++, at += 8) to[i] = this.#view.getBigUint64(at);
        break;
      }
      case FIELD_KIND.I64: {
        const to = values as BigInt64Array;
        for (let i = 0; i < count; i++, at += 8) to[i] = this.#view.getBigInt64(at);
        break;
      }
      case FIELD_KIND.SAFE_U64:
      case FIELD_KIND.SAFE_I64: {
        const to = values as Float64Array;
        const signed = step.kind === FIELD_KIND.SAFE_I64;
        for (let i = 0; i < count; i++, at += 8) {
          const high = readU32(bytes, at);
          to[i] = this.#safe(step, i, at, signed ? high | 0 : high);
        }
        break;
      }
      case FIELD_KIND.BOOL: {
        const to = values as boolean[];
        for (let i = 0; i < count; i++, at++) to[i] = this.#bool(step, i, at);
        break;
      }
      default:
        (values as Uint8Array | Int8Array).set(bytes.subarray(at, at + count));
    }
  }

  #structures(step: Step, structure: Structure, state: State, count: number): void {
    const list = state[step.key] as State[];
    if (step.counter !== undefined) {
      const least = count * structure.minimumSize;
      if (this.#end - this.at < least) throw this.#truncated(step, least);
      if (!Array.isArray(list)) throw this.#wrongLength(step, list);
      if (list.length > count) list.length = count;
    } else if (list?.length !== count) {
      throw this.#wrongLength(step, list);
    }
    let i = 0;
    try {
      for (; i < count; i++) {
        // One at a time, so that a stream that ends early has made few of them.
        if (i === list.length) list.push(structure.create());
        this.structure(structure, list[i]!, step.structureVersion);
      }
    } catch (error) {
      throw within(fieldPath(step.key, i), error, this.at);
    }
  }

  #count(step: Step, state: State): number {
    const { counter, maximum } = step;
    const count = state[counter!] as number;
    if (count >= 0 && count <= maximum) return count;
    const expected = `0 to ${maximum} elements by ${counter}`;
    throw new FieldError("bad-count", step.key, this.at, expected, `${count}`);
  }

  #subsections(structure: Structure, state: State): void {
    let seen: Set<Structure> | undefined;
    for (;;) {
      const start = this.at;
      const head = subsectionHead(this.#bytes, start, structure.prefix);
      if (head === undefined) return;
      const { name, version } = head;
      const subsection = structure.subsections.find((each) => each.name === name);
      if (subsection === undefined) {
        const names = structure.subsections.map((each) => each.name).join(", ");
        const expected = `no subsection of ${structure.name} but ${names || "none"}`;
        throw new FieldError("unknown-subsection", name, start, expected, name);
      }
      seen ??= new Set();
      if (seen.has(subsection)) {
        throw new FieldError("subsection-twice", name, start, "each subsection once", name);
      }
      seen.add(subsection);
      const fault = versionFault(subsection, version, head.end - 4);
      if (fault !== undefined) throw within(name, fault, start);
      this.at = head.end;
      try {
        this.structure(subsection, state, version);
      } catch (error) {
        throw within(name, error, this.at);
      }
    }
  }

  #truncated(step: Step, length: number): FieldError {
    const left = this.#end - this.at;
    return new FieldError(
      "truncated",
      step.key,
      this.at,
      `${length} bytes`,
      `the end of the device state behind ${left}`,
    );
  }

  #wrongLength(step: Step, values: ArrayLike<unknown> | undefined): FieldError {
    return new FieldError(
      "bad-state",
      step.key,
      this.at,
      step.counter === undefined
        ? `an array of ${step.length} elements in the state to load them into`
        : "an array in the state to load them into",
      `${values?.length}`,
    );
  }
}
