/** What a check found, as text. */

import { formatCount } from "../migration/report/units.ts";
import type { CheckResult } from "./check.ts";
import type { WrongByte } from "./written_page.ts";

/** Tells how much of a memory is wrong, where something is. */
export function wrongText(check: CheckResult): string {
  const lost = check.wrongPages === 0 && lostWrites(check).length > 0;
  return lost ? "writes are missing" : `${formatCount(check.wrongPages)} wrong pages`;
}

/** Tells where a byte is wrong. */
export function wrongByteText({ page, offset, expected, found }: WrongByte): string {
  const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, "0")}`;
  return `Wrong byte in page ${page} at offset ${offset}: ${hex(found)}, expected ${hex(expected)}`;
}

/** Tells that pages are of some time before, together with the counts of writes to them. */
export function lostWrites({ writes }: CheckResult): string[] {
  if (writes === undefined || writes.found === writes.expected) return [];
  const [found, expected] = [writes.found, writes.expected].map(formatCount);
  return [`Memory shows ${found} writes, expected ${expected}: pages are older than they must be`];
}
