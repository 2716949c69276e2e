/** How many threads a userfaultfd holds, as the kernel says it. */

/**
 * Returns the faults that wait on a userfaultfd, read or not, from `total:` in its fdinfo.
 *
 * @param fd the userfaultfd
 */
export function waitingFaults(fd: number): number {
  const text = Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`);
  return Number(/^total:\s*(\d+)$/m.exec(text)?.[1] ?? 0);
}
