/** Which numbers a memory region can have, and what fits in what. */

import { MemoryRegionError } from "./memory_region_error.ts";

/** One more than the highest address: beyond it JavaScript numbers are not exact. */
export const ADDRESS_LIMIT: number = 2 ** 53;

interface Named {
  readonly name: string;
}

/** Something with an end: a region, or an address space. */
interface Sized extends Named {
  readonly size: number;
}

/**
 * Checks the size of a region or an address space.
 *
 * @param what which of them it is
 * @param name its name
 * @param size bytes
 * @throws {MemoryRegionError} for no whole number from 1 to 2^53
 */
export function checkSize(what: string, name: string, size: number): void {
  if (Number.isInteger(size) && size > 0 && size <= ADDRESS_LIMIT) return;
  throw badNumber(`Size of ${what} ${name}`, name, size, "a whole number of bytes from 1 to 2^53");
}

/**
 * Checks where something begins.
 *
 * @param what what it is an offset in
 * @param name the region's name
 * @param offset bytes
 * @throws {MemoryRegionError} for no whole number from 0, below 2^53
 */
export function checkOffset(what: string, name: string, offset: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0) return;
  throw badNumber(
    `${what} of region ${name}`,
    name,
    offset,
    "a whole number of bytes from 0, below 2^53",
  );
}

/**
 * Checks a priority.
 *
 * @param name the region's name
 * @throws {MemoryRegionError} for no whole number
 */
export function checkPriority(name: string, priority: number): void {
  if (Number.isSafeInteger(priority)) return;
  throw badNumber(`Priority of region ${name}`, name, priority, "a whole number");
}

/**
 * Checks that a region ends where what it is in, or shows a part of, does or before.
 *
 * @param outer what it is in, or shows a part of
 * @param inner the region
 * @param offset where in the outer one, in bytes; a number that can be
 * @throws {MemoryRegionError} when it reaches past the end
 */
export function checkEnd(outer: Sized, inner: Sized, offset: number): void {
  // Not `offset + inner.size > outer.size`: the sum may be beyond 2^53 and rounded.
  if (inner.size <= outer.size - offset) return;
  throw new MemoryRegionError(
    "PAST_END",
    `Region ${inner.name} reaches past the ${outer.size} bytes of ${outer.name}: ` +
      `${inner.size} bytes at ${offset}: move it, or use a smaller alias`,
    [inner.name, outer.name],
  );
}

/**
 * Checks that two are of one machine.
 *
 * @throws {MemoryRegionError} when they are not
 */
export function checkSameCore(
  one: Named & { readonly core: object },
  other: Named & { readonly core: object },
): void {
  if (one.core === other.core) return;
  throw new MemoryRegionError(
    "OTHER_CORE",
    `Memory of two machines put together: ${one.name} and ${other.name}: ` +
      `make both with the same MemoryCore`,
    [one.name, other.name],
  );
}

function badNumber(what: string, name: string, value: number, use: string): MemoryRegionError {
  return new MemoryRegionError("BAD_NUMBER", `${what} cannot be: ${value}: use ${use}`, [name]);
}
