/** Iterable sections other than `ram`: nobody can tell where they end, so they are refused by name. */

import { ELEMENT } from "./constants.ts";

/** What such sections are, by QEMU's names for them, and what leaves them out. */
const KNOWN: readonly (readonly [name: RegExp, remedy: string])[] = [
  [/^dirty-bitmap$/, "turn the capability dirty-bitmaps off at the source"],
  [/^block$/, "turn the capability block off at the source, and share or mirror its disks"],
  [/(^|\/)vfio/, "unplug that device (VFIO)"],
  [
    /^spapr\/htab$/,
    "use a guest with the radix MMU, which has no hash page table (ppc64)",
  ],
  [/^s390-storage_attributes$/, "turn the processor feature cmm off (s390)"],
];
const UNKNOWN = "detach the device, or turn the capability off, that adds it";

/** A section that is neither memory nor a device's state in one piece. */
export interface OtherSection {
  /** As the source names it. */
  readonly name: string;
  /** What the user can do about it at the source; not capitalised. */
  readonly remedy: string;
}

/**
 * Looks at the beginning of what a {@linkcode StreamDecoder} gives to `deviceState`, whose first call
 * has the whole head of a section.
 *
 * @returns the section that is no device's state; undefined for one that is
 */
export function otherSection(bytes: Uint8Array, at: number): OtherSection | undefined {
  if (bytes[at] !== ELEMENT.SECTION_START) return undefined;
  const name = new TextDecoder().decode(bytes.subarray(at + 6, at + 6 + bytes[at + 5]!));
  const remedy = KNOWN.find(([pattern]) => pattern.test(name))?.[1] ?? UNKNOWN;
  return { name, remedy };
}
