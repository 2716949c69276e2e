/** Warming of the transparent huge pages that a QEMU takes for its guest's memory. */

import { libc } from "../../ffi/libc.ts";
import { MappedMemory } from "../../ffi/memory.ts";

// include/uapi/asm-generic/mman-common.h
const MADV_HUGEPAGE = 14;

/**
 * Has as many huge pages backed and gives them back. The host of a virtual machine may take free
 * memory of whole huge pages back within seconds (free page reporting); a process that gets them later
 * waits for each: on one such machine 2.5 s a GiB instead of 0.05. So this belongs right before the
 * memory is needed.
 *
 * @param bytes what the other process will take
 */
export function warmHugePages(bytes: number): void {
  using memory = MappedMemory.anonymous(bytes);
  libc().madvise(BigInt(memory.address), BigInt(memory.length), MADV_HUGEPAGE);
  memory.populate();
}
