/** Closing things again, when what they gave back has another owner. */

import { assert, assertEquals } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { errno, libc } from "../../ffi/libc.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { openDescriptors } from "./descriptors.ts";

/** Something that is closed once, however often it is closed. */
export type Resource = Disposable & { close(): void };

/** Memory by its place. */
export interface Place {
  readonly address: number;
  readonly length: number;
}

// From include/uapi/asm-generic/mman-common.h and mman.h; equal on x86-64 and aarch64.
const PROT_NONE = 0;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
const MAP_FIXED_NOREPLACE = 0x100000;

/**
 * Closes a resource three times. From the first time on others own what it gave back, descriptors by
 * the lowest numbers and memory by its address: a second close would hit those.
 *
 * @param resource what is closed; there are no more than eight descriptors of its own
 * @param places memory that it gives back
 */
export function closeAgainAndAgain(resource: Resource, places: readonly Place[] = []): void {
  resource.close();
  using others = new DisposableStack();
  for (const place of places) others.use(occupy(place));
  for (let count = 0; count < 8; count++) others.use(new Eventfd());
  const before = openDescriptors();
  resource.close();
  resource[Symbol.dispose]();
  assertEquals(openDescriptors(), before);
  for (const place of places) assert(isMapped(place), `Memory of another owner was unmapped`);
}

/** Maps memory where some was given back. */
function occupy({ address, length }: Place): Disposable {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  const result = libc().mmap(BigInt(address), BigInt(length), PROT_NONE, flags, -1, 0n);
  assertEquals(result, BigInt(address), `Memory that was not given back: errno ${errno()}`);
  return MappedMemory.adopt(address, length, -1);
}

/** Whether all of a range is mapped. */
function isMapped({ address, length }: Place): boolean {
  let to = address;
  for (const line of Deno.readTextFileSync("/proc/self/maps").split("\n")) {
    const [start, end] = line.split(" ", 1)[0]!.split("-").map((hex) => parseInt(hex, 16));
    if (start! <= to && to < end!) to = end!;
  }
  return to >= address + length;
}
