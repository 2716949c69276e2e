/** How an x86 finds memory: from a linear address by its page tables to a physical one. */

import type { GuestMemory } from "./guest_memory.ts";

/** Control registers that say how, as Intel's Software Developer's Manual has them (volume 3A, 2.5 and 4.1). */
export interface ControlRegisters {
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
}

/** The tables of a processor. */
export interface Paging {
  /** Tables on a walk; 0: physical addresses are linear ones. */
  readonly levels: 0 | 2 | 3 | 4 | 5;
  /** Physical address of the first. */
  readonly root: number;
  /** Whether a table of two levels may name pages of 4 MiB. */
  readonly large: boolean;
}

const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LMA = 1n << 10n;

const PRESENT = 1n;
const LARGE = 1n << 7n;
/** Bits of an entry of 64 bits, and of CR3, that are an address. */
const ADDRESS = 0x000f_ffff_ffff_f000n;
const BELOW_4_GIB = 0xffff_ffffn;

/** Tells whether a processor uses 64-bit addresses. */
export function isLong({ cr0, efer }: ControlRegisters): boolean {
  return (cr0 & CR0_PG) !== 0n && (efer & EFER_LMA) !== 0n;
}

/** Reads the control registers. */
export function pagingOf(registers: ControlRegisters): Paging {
  const { cr0, cr3, cr4 } = registers;
  const large = (cr4 & CR4_PSE) !== 0n;
  if ((cr0 & CR0_PG) === 0n) return { levels: 0, root: 0, large };
  if (isLong(registers)) {
    return { levels: (cr4 & CR4_LA57) !== 0n ? 5 : 4, root: Number(cr3 & ADDRESS), large };
  }
  if ((cr4 & CR4_PAE) !== 0n) return { levels: 3, root: Number(cr3 & 0xffff_ffe0n), large };
  return { levels: 2, root: Number(cr3 & 0xffff_f000n), large };
}

/**
 * Walks the tables, which are whatever the guest has put there: a walk ends after as many as there are levels,
 * also when they lead in a circle.
 *
 * @param memory of the guest
 * @param linear the address, of 32 bits where there are no 64
 * @param visit called with the physical address of each entry that is read
 * @returns the physical address; -1 when none is mapped there, or nothing can be read
 */
export function translate(
  memory: Pick<GuestMemory, "read">,
  paging: Paging,
  linear: bigint,
  visit: (address: number) => void,
): number {
  const { levels, large } = paging;
  if (levels === 0) return Number(linear & BELOW_4_GIB);
  const isWide = levels >= 4;
  if (isWide && BigInt.asIntN(12 + 9 * levels, linear) !== BigInt.asIntN(64, linear)) return -1;
  const indexBits = levels === 2 ? 10 : 9;
  let table = paging.root;
  for (let level = levels as number; level > 0; level--) {
    const shift = 12 + indexBits * (level - 1);
    const index = Number(
      BigInt.asUintN(levels === 3 && level === 3 ? 2 : indexBits, linear >> BigInt(shift)),
    );
    const at = table + index * (levels === 2 ? 4 : 8);
    const bytes = memory.read(at);
    if (bytes === undefined) return -1;
    visit(at);
    const entry = levels === 2
      ? BigInt(bytes.getUint32(at % bytes.byteLength, true))
      : bytes.getBigUint64(at % bytes.byteLength, true);
    if ((entry & PRESENT) === 0n) return -1;
    if (level > 1 && (entry & LARGE) !== 0n) {
      if (levels === 2) {
        if (large) return largeOf32(entry) + Number(BigInt.asUintN(22, linear));
      } else if (level === 2 || (isWide && level === 3)) {
        const size = 2 ** shift;
        const base = Number(entry & ADDRESS);
        return base - base % size + Number(BigInt.asUintN(shift, linear));
      } else if (isWide) return -1; // reserved there
    }
    table = Number(entry & (levels === 2 ? 0xffff_f000n : ADDRESS));
  }
  return table + Number(BigInt.asUintN(12, linear));
}

/** Where a page of 4 MiB lies: 40 bits of address, of which the upper are in the middle of the entry. */
function largeOf32(entry: bigint): number {
  return Number(((entry >> 13n) & 0xffn) << 32n | (entry & 0xffc0_0000n));
}
