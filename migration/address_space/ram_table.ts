/** The RAM that a flat view shows, as tables for lookups in both directions. */

import type { FlatRange } from "./flat_view.ts";
import type { MemoryRegion } from "./memory_region.ts";
import type { RamAddresses } from "./ram_addresses.ts";
import { sweep } from "./sweep.ts";

/** A piece of RAM as the tables hold it. */
interface Piece {
  readonly region: MemoryRegion;
  readonly block: number;
  /** Guest-physical address. */
  readonly start: number;
  readonly host: number;
  length: number;
}

/**
 * The RAM of one flat view. Lookups are binary searches in numbers side by side, and make no object.
 * Ranges that continue each other in the address space and in their block count as one.
 */
export class RamTable {
  /** In the order of guest-physical addresses. */
  readonly #pieces: readonly Piece[];
  /** Their guest-physical addresses, host addresses and lengths. */
  readonly #starts: Float64Array;
  readonly #hosts: Float64Array;
  readonly #lengths: Float64Array;
  #reverse: ReverseTable | undefined;

  /**
   * @param ranges a flat view's
   * @param ram where the blocks are; ranges of RAM that are in no block are left out
   */
  constructor(ranges: readonly FlatRange[], ram: RamAddresses) {
    this.#pieces = piecesOf(ranges, ram);
    this.#starts = Float64Array.from(this.#pieces, ({ start }) => start);
    this.#hosts = Float64Array.from(this.#pieces, ({ host }) => host);
    this.#lengths = Float64Array.from(this.#pieces, ({ length }) => length);
  }

  /** Returns the index of the range that a guest-physical address is in, or -1. */
  find(address: number): number {
    const index = lastAtOrBelow(this.#starts, address);
    return index >= 0 && address - this.#starts[index]! < this.#lengths[index]! ? index : -1;
  }

  /** Returns the host address of a guest-physical address in the range of that index. */
  hostAddress(index: number, address: number): number {
    return this.#hosts[index]! + (address - this.#starts[index]!);
  }

  /** Returns the bytes from a guest-physical address to the end of the range of that index. */
  remaining(index: number, address: number): number {
    return this.#lengths[index]! - (address - this.#starts[index]!);
  }

  /** Returns the index of the block that the range of that index is memory of. */
  block(index: number): number {
    return this.#pieces[index]!.block;
  }

  /** Returns the lowest guest-physical address that shows a byte of this process, or -1. */
  guestAddress(hostAddress: number): number {
    const { hosts, lengths, guests } = this.#reverse ??= reverseTable(this.#pieces);
    const index = lastAtOrBelow(hosts, hostAddress);
    if (index < 0) return -1;
    const into = hostAddress - hosts[index]!;
    return into < lengths[index]! ? guests[index]! + into : -1;
  }
}

/** Host memory that the guest sees, in the order of host addresses and without overlap. */
interface ReverseTable {
  readonly hosts: Float64Array;
  readonly lengths: Float64Array;
  readonly guests: Float64Array;
}

function piecesOf(ranges: readonly FlatRange[], ram: RamAddresses): Piece[] {
  const pieces: Piece[] = [];
  for (const range of ranges) {
    const { region, start, length } = range;
    if (region.kind !== "ram" || !ram.has(range)) continue;
    const block = ram.blockOf(range);
    const host = ram.blocks[block]!.address + ram.offsetOf(range);
    const last = pieces.at(-1);
    if (
      last !== undefined && last.block === block && last.start + last.length === start &&
      last.host + last.length === host
    ) last.length += length;
    else pieces.push({ region, block, start, host, length });
  }
  return pieces;
}

function reverseTable(pieces: readonly Piece[]): ReverseTable {
  // The same memory may be seen at several addresses. Laid out by host address, with those on top
  // whose guest-physical addresses are lowest, it is what a flat view is made of.
  const lowestOnTop = pieces.toSorted((a, b) => (a.start - a.host) - (b.start - b.host));
  const seen = sweep({
    regions: lowestOnTop.map(({ region }) => region),
    starts: lowestOnTop.map(({ host }) => host),
    ends: lowestOnTop.map(({ host, length }) => host + length),
    // The base such that the offset of what is seen is its guest-physical address.
    bases: lowestOnTop.map(({ host, start }) => host - start),
  });
  return {
    hosts: Float64Array.from(seen, ({ start }) => start),
    lengths: Float64Array.from(seen, ({ length }) => length),
    guests: Float64Array.from(seen, ({ offset }) => offset),
  };
}

/** Returns the index of the last of sorted numbers that is not above a value, or -1. */
export function lastAtOrBelow(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
