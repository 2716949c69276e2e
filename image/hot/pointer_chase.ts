/** Following what a processor points to: pages that it must read next, and what these point to. */

import { PAGE_BYTES } from "./guest_memory.ts";
import type { LinearMemory } from "./linear_memory.ts";
import type { Extent, Processor } from "./processor.ts";

/** Values below this are no addresses: nobody maps the first pages. */
const LOWEST = 0x1_0000;
/**
 * Bytes of stack in use that are looked through, and of a processor's own data: what it runs, its stacks, its
 * queues.
 */
const NEAR_BYTES = 2 * PAGE_BYTES;
/**
 * Bytes that are looked through of what these point to. Of the pages found so a restored Linux asked for 70 % in
 * its idle loop, and for 35 % in the midst of a system call; a step further it was 55 and 13 %.
 */
const FAR_BYTES = 1024;
/** The task state of 64 bits (Intel's manual, volume 3A, 8.7): pointers to stacks, from here on. */
const TASK_STACKS = 4;
const TASK_BYTES = 104;
/** Bytes of an interrupt's descriptor, by those of a pointer (same, 6.11 and 6.14.1). */
const GATE_BYTES = { 8: 16, 4: 8 } as const;
const MOST_GATES = 256;

/** Finds what one processor points to. */
export class PointerChase {
  readonly #processor: Processor;
  readonly #memory: LinearMemory;
  /** Lower and upper halves of pointers, one after the other, each to what {@linkcode PointerChase.far} follows. */
  readonly #targets: number[] = [];

  /**
   * @param processor whose registers are followed
   * @param memory as it sees it
   */
  constructor(processor: Processor, memory: LinearMemory) {
    this.#processor = processor;
    this.#memory = memory;
  }

  /** What it cannot do a step without: code, stack, tables, and data of its own. */
  own(): void {
    const { code, stack, interrupts, segments, task, entries, bases } = this.#processor;
    for (const each of [code, stack]) this.#memory.touch(lowOf(each), highOf(each));
    for (const { base, length } of [interrupts, segments, task]) {
      const last = base + BigInt(Math.min(length, PAGE_BYTES) - 1);
      for (const each of [base, last]) this.#memory.touch(lowOf(each), highOf(each));
    }
    for (const each of [...bases, ...entries]) this.#pointer(lowOf(each), highOf(each));
    this.#targets.length = 0;
  }

  /** What its registers point to, and its tables, its stack and its data, where page tables tell what is an address. */
  near(): void {
    const { registers, stack, bases, interrupts, task, pointerBytes, paging } = this.#processor;
    for (const each of registers) this.#pointer(lowOf(each), highOf(each));
    if (paging.levels === 0) return;
    this.#pointers(stack - stack % BigInt(pointerBytes), NEAR_BYTES);
    if (pointerBytes === 8) {
      this.#pointers(task.base + BigInt(TASK_STACKS), TASK_BYTES - TASK_STACKS);
    }
    for (const base of bases) if (base >= LOWEST) this.#pointers(base, NEAR_BYTES);
    this.#gates(interrupts);
  }

  /** What that points to. */
  far(): void {
    if (this.#processor.paging.levels === 0) return;
    const targets = this.#targets.splice(0);
    for (let at = 0; at < targets.length; at += 2) {
      this.#scan(targets[at]!, targets[at + 1]!, FAR_BYTES);
    }
  }

  #pointer(low: number, high: number): void {
    if (high === 0 && low < LOWEST) return;
    if (this.#memory.touch(low, high)) this.#targets.push(low, high);
  }

  /** Follows all that lies in a range, up to the first page that is not there. */
  #pointers(linear: bigint, length: number): void {
    let from = linear;
    for (let left = length; left > 0;) {
      const scanned = this.#scan(lowOf(from), highOf(from), left);
      if (scanned === 0) return;
      left -= scanned;
      from += BigInt(scanned);
    }
  }

  /**
   * Follows what lies at an address, up to the end of its page.
   *
   * @returns bytes that were looked through
   */
  #scan(low: number, high: number, length: number): number {
    const { pointerBytes } = this.#processor;
    const bytes = this.#memory.read(low, high);
    if (bytes === undefined) return 0;
    const from = low % PAGE_BYTES;
    const end = Math.min(PAGE_BYTES, from + length);
    for (let at = from; at + pointerBytes <= end; at += pointerBytes) {
      const upper = pointerBytes === 8 ? bytes.getUint32(at + 4, true) : 0;
      this.#pointer(bytes.getUint32(at, true), upper);
    }
    return end - from;
  }

  /** Finds where the descriptors of interrupts lead, nearly all of them into one or two pages. */
  #gates({ base, length }: Extent): void {
    const { pointerBytes } = this.#processor;
    const gateBytes = GATE_BYTES[pointerBytes];
    const count = Math.min(MOST_GATES, Math.floor(length / gateBytes));
    for (let index = 0; index < count; index++) {
      const linear = base + BigInt(index * gateBytes);
      const bytes = this.#memory.read(lowOf(linear), highOf(linear));
      if (bytes === undefined) return;
      const at = lowOf(linear) % PAGE_BYTES;
      if (at + gateBytes > PAGE_BYTES) continue;
      // The lower half is in two parts.
      const low = (bytes.getUint16(at, true) | bytes.getUint16(at + 6, true) << 16) >>> 0;
      this.#memory.touch(low, pointerBytes === 8 ? bytes.getUint32(at + 8, true) : 0);
    }
  }
}

function lowOf(linear: bigint): number {
  return Number(BigInt.asUintN(32, linear));
}

function highOf(linear: bigint): number {
  return Number(BigInt.asUintN(32, linear >> 32n));
}
