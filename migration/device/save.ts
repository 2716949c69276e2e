/** Writing a device's fields and subsections. */

import { TWO_TO_32 } from "../protocol/byte_order.ts";
import type { ByteWriter } from "../protocol/byte_writer.ts";
import { ELEMENT } from "../protocol/constants.ts";
import { FieldError, fieldPath, hookError, within } from "./field_error.ts";
import { FIELD_KIND, type State, type Step, type Structure } from "./structure.ts";

/** Most that a kind of number holds, indexed by {@linkcode FIELD_KIND}. */
const MOST = [0xff, 0x7f, 0xffff, 0x7fff, 0xffff_ffff, 0x7fff_ffff];
/** Least that it holds. */
const LEAST = [0, -0x80, 0, -0x8000, 0, -0x8000_0000];

/**
 * Writes states as device state. A value that its field cannot hold is an error, never cut off.
 *
 * Its methods throw {@linkcode FieldError}s only.
 */
export class StateWriter {
  readonly #to: ByteWriter;
  readonly #scratch = new DataView(new ArrayBuffer(8));

  /** @param to what to append to */
  constructor(to: ByteWriter) {
    this.#to = to;
  }

  /** Runs a structure's `preSave`, and writes its fields and the subsections that are needed. */
  structure(structure: Structure, state: State, version: number): void {
    if (structure.preSave !== undefined) {
      try {
        structure.preSave(state);
      } catch (cause) {
        throw hookError("preSave", this.#to.length, cause);
      }
    }
    for (const step of structure.steps) {
      if (!this.#applies(step, state, version)) continue;
      if (step.many) this.#array(step, state);
      else if (step.structure !== undefined) this.#nested(step, step.structure, state);
      else if (step.kind === FIELD_KIND.UNUSED) this.#zeros(step.size);
      else this.#scalar(step, state[step.key], -1);
    }
    for (const subsection of structure.subsections) this.#subsection(subsection, state);
  }

  /** Asks a device or a subsection whether it is saved. */
  needed(structure: Structure, state: State): boolean {
    try {
      return structure.needed === undefined || structure.needed(state);
    } catch (cause) {
      throw hookError("needed", this.#to.length, cause);
    }
  }

  #applies({ since, when, key }: Step, state: State, version: number): boolean {
    if (since > version) return false;
    try {
      return when === undefined || when(state, version);
    } catch (cause) {
      throw hookError("its condition", this.#to.length, cause, key);
    }
  }

  #subsection(subsection: Structure, state: State): void {
    try {
      if (!this.needed(subsection, state)) return;
      this.#to.u8(ELEMENT.SUBSECTION);
      this.#to.name(subsection.name);
      this.#to.u32(subsection.version);
      this.structure(subsection, state, subsection.version);
    } catch (error) {
      throw within(subsection.name, error, this.#to.length);
    }
  }

  #nested(step: Step, structure: Structure, state: State): void {
    try {
      this.structure(structure, state[step.key] as State, step.structureVersion);
    } catch (error) {
      throw within(step.key, error, this.#to.length);
    }
  }

  #array(step: Step, state: State): void {
    const values = state[step.key] as ArrayLike<unknown>;
    const count = this.#count(step, state, values);
    if (step.structure !== undefined) {
      this.#structures(step, step.structure, values as ArrayLike<State>);
    } else if (step.kind === FIELD_KIND.BYTES || step.kind === FIELD_KIND.U8) {
      if (!(values instanceof Uint8Array)) throw this.#bad(step, -1, "a Uint8Array", typeof values);
      this.#to.bytes(values);
    } else {
      for (let i = 0; i < count; i++) this.#scalar(step, values[i], i);
    }
  }

  #structures(step: Step, structure: Structure, list: ArrayLike<State>): void {
    let i = 0;
    try {
      for (; i < list.length; i++) this.structure(structure, list[i]!, step.structureVersion);
    } catch (error) {
      throw within(fieldPath(step.key, i), error, this.#to.length);
    }
  }

  /** Elements of an array, which are as many as its description or its counter says. */
  #count(step: Step, state: State, values: ArrayLike<unknown> | undefined): number {
    const { counter, maximum, key, length } = step;
    const found = values?.length;
    const count = counter === undefined ? length : state[counter];
    if (found === undefined || found !== count) {
      const by = counter === undefined ? "" : ` by ${counter}`;
      throw this.#bad(step, -1, `${count} elements${by}`, `${found}`);
    }
    if (counter === undefined || found <= maximum) return found;
    const expected = `0 to ${maximum} elements by ${counter}`;
    throw new FieldError("bad-count", key, this.#to.length, expected, `${found}`);
  }

  #scalar(step: Step, value: unknown, index: number): void {
    const to = this.#to;
    const { kind } = step;
    switch (kind) {
      case FIELD_KIND.U8:
      case FIELD_KIND.I8:
        return to.u8(this.#whole(step, value, index, LEAST[kind]!, MOST[kind]!));
      case FIELD_KIND.U16:
      case FIELD_KIND.I16:
        return to.u16(this.#whole(step, value, index, LEAST[kind]!, MOST[kind]!));
      case FIELD_KIND.U32:
      case FIELD_KIND.I32:
        return to.u32(this.#whole(step, value, index, LEAST[kind]!, MOST[kind]!));
      case FIELD_KIND.SAFE_U64:
        return this.#safe(this.#whole(step, value, index, 0, Number.MAX_SAFE_INTEGER));
      case FIELD_KIND.SAFE_I64: {
        const least = Number.MIN_SAFE_INTEGER;
        return this.#safe(this.#whole(step, value, index, least, Number.MAX_SAFE_INTEGER));
      }
      case FIELD_KIND.BOOL:
        if (typeof value !== "boolean") throw this.#bad(step, index, "a boolean", show(value));
        return to.u8(value ? 1 : 0);
      case FIELD_KIND.U64:
        return this.#big(step, value, index, BigInt.asUintN);
      case FIELD_KIND.I64:
        return this.#big(step, value, index, BigInt.asIntN);
    }
  }

  #whole(step: Step, value: unknown, index: number, least: number, most: number): number {
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) {
      return value as number;
    }
    throw this.#bad(step, index, `a whole number from ${least} to ${most}`, show(value));
  }

  #safe(value: number): void {
    const high = Math.floor(value / TWO_TO_32);
    this.#to.u32(high);
    this.#to.u32(value - high * TWO_TO_32);
  }

  #big(step: Step, value: unknown, index: number, fit: typeof BigInt.asUintN): void {
    if (typeof value !== "bigint" || fit(64, value) !== value) {
      throw this.#bad(step, index, `a bigint that fits ${step.type}`, show(value));
    }
    this.#scratch.setBigInt64(0, value);
    this.#to.u32(this.#scratch.getUint32(0));
    this.#to.u32(this.#scratch.getUint32(4));
  }

  #zeros(length: number): void {
    for (let i = 0; i < length; i++) this.#to.u8(0);
  }

  #bad(step: Step, index: number, expected: string, found: string): FieldError {
    return new FieldError(
      "bad-state",
      fieldPath(step.key, index),
      this.#to.length,
      expected,
      found,
    );
  }
}

function show(value: unknown): string {
  return typeof value === "bigint" ? `${value}n` : `${value}`;
}
