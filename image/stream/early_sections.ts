/** Finding where the memory section starts behind sections that carry no length. */

import { ELEMENT, RAM_SECTION, RECORD } from "../../migration/protocol/mod.ts";

/** Footer: type and section id; then SECTION_START: type and section id. */
const BEFORE_NAME = 5 + 5;
const TARGET_PAGE_MASK = 0xfff;

/**
 * Finds the memory section's SECTION_START behind the footer of another section. Twelve bytes of its
 * name, instance and version are known, the footer's and its own type, and the flags of its block
 * list: a device's own bytes do not look so by chance.
 *
 * @param bytes where to look
 * @returns index of the SECTION_START in `bytes`, or -1
 */
export function findRamStart(bytes: Uint8Array): number {
  const name = new TextEncoder().encode(RAM_SECTION.NAME);
  const instanceAndVersion = new Uint8Array(8);
  instanceAndVersion[7] = RAM_SECTION.VERSION;
  const known = Uint8Array.of(name.length, ...name, ...instanceAndVersion);
  for (let at = bytes.indexOf(known[0]!); at >= 0; at = bytes.indexOf(known[0]!, at + 1)) {
    const flagsAt = at + known.length + 6;
    if (flagsAt + 2 > bytes.length) return -1;
    const flags = ((bytes[flagsAt]! << 8) | bytes[flagsAt + 1]!) & TARGET_PAGE_MASK;
    const found = flags === RECORD.MEM_SIZE && at >= BEFORE_NAME &&
      bytes[at - BEFORE_NAME] === ELEMENT.SECTION_FOOTER &&
      bytes[at - 5] === ELEMENT.SECTION_START &&
      known.every((byte, i) => bytes[at + i] === byte);
    if (found) return at - 5;
  }
  return -1;
}
