/** The floor of a local fault: memory is touched, another thread places the page, the toucher runs on. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { FaultReader } from "../../ffi/fault_reader.ts";
import { MappedMemory, viewMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";

/** Bytes of a page placed. */
export const PAGE_BYTES = 4096;

/** What every placed page holds. */
const CONTENT = 0xa5;

/** The handler's thread: gives every missing page the same content until `wakeFd` is signalled. */
export function placeFaults(uffd: number, wakeFd: number): void {
  using content = MappedMemory.anonymous(PAGE_BYTES);
  content.bytes().fill(CONTENT);
  const faults = new FaultReader(uffd, 16);
  const placer = new PagePlacer(uffd);
  const poll = new PollSet(2);
  poll.watch(0, uffd, PollEvents.IN);
  poll.watch(1, wakeFd, PollEvents.IN);
  while (true) {
    while (poll.wait(-1) === 0);
    if (poll.ready(1) !== 0) return;
    const count = faults.read();
    if (count < 0 && count !== -Errno.EAGAIN) throw new SyscallError("read", -count, "userfaultfd");
    for (let fault = 0; fault < count; fault++) {
      // Without EXACT_ADDRESS the kernel gives the address of the page.
      const placed = placer.copy(faults.address(fault), content.address, PAGE_BYTES);
      if (placed === Placement.GONE) return;
    }
  }
}

/** Puts 0 to `count - 1` in a random order. */
function shuffledPages(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, page) => page);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1));
    const page = order[last]!;
    order[last] = order[other]!;
    order[other] = page;
  }
  return order;
}

/**
 * The toucher's thread: reads a byte of each page once, in a random order.
 *
 * @param address memory of `pages` missing pages
 * @param warmUp of those pages, how many are touched first and not measured
 * @returns the time of each touch, nanoseconds
 */
export function measureTouches(
  address: number,
  pages: number,
  warmUp: number,
): Float64Array<ArrayBuffer> {
  const memory = viewMemory(address, pages * PAGE_BYTES);
  const samples = new Float64Array(pages - warmUp);
  const order = shuffledPages(pages);
  for (let index = 0; index < pages; index++) {
    const at = order[index]! * PAGE_BYTES;
    const start = monotonicNanoseconds();
    const byte = memory[at];
    const end = monotonicNanoseconds();
    if (byte !== CONTENT) throw new Error(`Wrong content in page ${order[index]}: ${byte}`);
    if (index >= warmUp) samples[index - warmUp] = end - start;
  }
  return samples;
}

/**
 * Fills missing memory that nobody waits for, as a background stream does.
 *
 * @param batch bytes placed by one call
 * @returns one sample: the nanoseconds that all of it took
 */
export function fillMemory(
  uffd: number,
  address: number,
  length: number,
  batch: number,
): Float64Array<ArrayBuffer> {
  using content = MappedMemory.anonymous(batch);
  content.populate();
  const placer = new PagePlacer(uffd);
  const start = monotonicNanoseconds();
  for (let at = 0; at < length; at += batch) {
    const placed = placer.copy(address + at, content.address, batch);
    if (placed !== Placement.PLACED) throw new Error(`Page was not placed at offset: ${at}`);
  }
  return Float64Array.of(monotonicNanoseconds() - start);
}
