/** What the state of an x86 processor says of memory: what it runs, and what it points to. */

import type { DescribedField, DescribedStructure } from "../../migration/device/described_state.ts";
import { isLong, type Paging, pagingOf } from "./paging.ts";

/** A table of the processor's. */
export interface Extent {
  /** Linear address. */
  readonly base: bigint;
  /** Bytes, at least one. */
  readonly length: number;
}

/** One processor. */
export interface Processor {
  readonly paging: Paging;
  /** Bytes of a pointer. */
  readonly pointerBytes: 4 | 8;
  /** Linear address of what it does next. */
  readonly code: bigint;
  /** Linear address of the top of its stack. */
  readonly stack: bigint;
  /** What it goes by when something happens: interrupt descriptors, segment descriptors, task state. */
  readonly interrupts: Extent;
  readonly segments: Extent;
  readonly task: Extent;
  /** Where its system calls and its data of its own begin; 0 for none. */
  readonly entries: readonly bigint[];
  readonly bases: readonly bigint[];
  /** Registers, which may be addresses. */
  readonly registers: readonly bigint[];
  /** Physical addresses at which the host leaves word for it. */
  readonly mailboxes: readonly number[];
}

/** Numbers of registers in QEMU's state, and the stack pointer's (target/i386/cpu.h). */
const RSP = 4;
const CS = 1;
const SS = 2;
const FS = 4;
const GS = 5;

/** MSRs of KVM's that hold a physical address, with flags in its low bits: bit 0 says that it is used. */
const MAILBOX_FIELDS = ["env.system_time_msr", "env.steal_time_msr", "env.pv_eoi_en_msr"];
/** A mailbox's alignment, at least. */
const MAILBOX_FLAGS = 3n;

/**
 * Reads a processor's state.
 *
 * @param state of QEMU's device `cpu`
 * @returns undefined when it is no x86's, or of a form that is not known
 */
export function processorOf(state: DescribedStructure): Processor | undefined {
  const fields = fieldsOf(state);
  const number = (name: string): bigint => wholeOf(fields.get(name)) ?? 0n;
  const general = wholesOf(fields.get("env.regs"));
  const segments = structuresOf(fields.get("env.segs"));
  if (general === undefined || general.length < 8 || segments.length < 6) return undefined;
  const control = {
    cr0: number("env.cr[0]"),
    cr3: number("env.cr[3]"),
    cr4: number("env.cr[4]"),
    efer: number("env.efer"),
  };
  const long = isLong(control);
  const bits = long ? 64 : 32;
  const linear = (segment: number, offset: bigint): bigint =>
    BigInt.asUintN(bits, (long ? 0n : extentOf(segments[segment]).base) + offset);
  return {
    paging: pagingOf(control),
    pointerBytes: long ? 8 : 4,
    code: linear(CS, number("env.eip")),
    stack: linear(SS, general[RSP]!),
    interrupts: extentOf(structureOf(fields.get("env.idt"))),
    segments: extentOf(structureOf(fields.get("env.gdt"))),
    task: extentOf(structureOf(fields.get("env.tr"))),
    entries: long ? [number("env.lstar")] : [number("env.sysenter_eip")],
    bases: [extentOf(segments[GS]).base, extentOf(segments[FS]).base, number("env.kernelgsbase")],
    registers: general.filter((_, index) => index !== RSP),
    mailboxes: MAILBOX_FIELDS.map(number).filter((msr) => (msr & 1n) !== 0n)
      .map((msr) => Number(msr & ~MAILBOX_FLAGS)),
  };
}

/** Fields by name, those of subsections too. */
function fieldsOf({ fields, subsections }: DescribedStructure): Map<string, DescribedField> {
  return new Map([
    ...subsections.flatMap((each) => each.fields),
    ...fields,
  ].map((field) => [field.name, field]));
}

function wholeOf(field: DescribedField | undefined): bigint | undefined {
  if (field === undefined || !("value" in field)) return undefined;
  const { value } = field;
  if (typeof value === "bigint") return BigInt.asUintN(64, value);
  return typeof value === "number" ? BigInt(value) : undefined;
}

function wholesOf(field: DescribedField | undefined): bigint[] | undefined {
  if (field === undefined || !("values" in field)) return undefined;
  return field.values.map((value) =>
    typeof value === "bigint" ? value : typeof value === "number" ? BigInt(value) : 0n
  );
}

function structureOf(field: DescribedField | undefined): DescribedStructure | undefined {
  return field !== undefined && "structure" in field ? field.structure : undefined;
}

function structuresOf(field: DescribedField | undefined): readonly DescribedStructure[] {
  return field !== undefined && "structures" in field ? field.structures : [];
}

function extentOf(segment: DescribedStructure | undefined): Extent {
  if (segment === undefined) return { base: 0n, length: 1 };
  const fields = fieldsOf(segment);
  const limit = Number(wholeOf(fields.get("limit")) ?? 0n);
  return { base: wholeOf(fields.get("base")) ?? 0n, length: limit + 1 };
}
