/** A QEMU guest on huge pages. */

import type { Qemu } from "../../qemu/qemu.ts";
import { HUGE } from "./huge_pages.ts";

/** Host pages of its memory of 64 MiB. */
export const QEMU_HUGE_PAGES = 32;

/** The name of its RAM block of huge pages. */
export const HUGE_BLOCK = "mem0";

/** Arguments that put the memory of a QEMU started by the test harness on huge pages. */
export const HUGE_ARGUMENTS: readonly string[] = [
  "-object",
  `memory-backend-memfd,hugetlb=on,hugetlbsize=2M,id=${HUGE_BLOCK},size=64M,share=on`,
  "-machine",
  `memory-backend=${HUGE_BLOCK}`,
];

/** Memory of one page of 1 GiB. */
export const GIGANTIC_ARGUMENTS: readonly string[] = [
  "-object",
  `memory-backend-memfd,hugetlb=on,hugetlbsize=1G,id=${HUGE_BLOCK},size=1G,share=on`,
  "-machine",
  `memory-backend=${HUGE_BLOCK}`,
];

/** The same memory in ordinary pages. */
export const PLAIN_ARGUMENTS: readonly string[] = [
  "-object",
  `memory-backend-memfd,id=${HUGE_BLOCK},size=64M,share=on`,
  "-machine",
  `memory-backend=${HUGE_BLOCK}`,
];

/**
 * Reads the memory of a guest on huge pages out of its QEMU; needs root, and a guest that does not run.
 *
 * @throws {Error} when the guest's memory is not where it should be
 */
export async function readHugeBlock(
  qemu: Qemu,
  length = QEMU_HUGE_PAGES * HUGE,
): Promise<Uint8Array> {
  const answer = await qemu.monitor("gpa2hva 0");
  const match = /\((.+)\) is (0x[0-9a-f]+)/.exec(answer);
  if (match?.[1] !== HUGE_BLOCK) throw new Error(`Block ${HUGE_BLOCK} is not at 0: ${answer}`);
  using memory = await Deno.open(`/proc/${qemu.pid}/mem`);
  await memory.seek(Number(match[2]), Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < bytes.length;) {
    const count = await memory.read(bytes.subarray(at));
    if (count === null) throw new Error(`Memory of the guest ends at byte ${at}`);
    at += count;
  }
  return bytes;
}
