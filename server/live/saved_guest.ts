/** The state of a stopped guest, as its stream carries it. */

import type { LiveGuest } from "../../migration/guest.ts";
import {
  describeGuestSection,
  encodeGuestSection,
} from "../../migration/protocol/guest_section.ts";
import { GUEST_SECTION_ID } from "./live_region.ts";

/** What a guest was at the moment it stopped, beside its memory. */
export interface SavedGuest {
  /** SECTION_FULL elements. */
  readonly sections: Uint8Array;
  /** Describes them as a VMDESCRIPTION does, in JSON. */
  describe(targetPageSize: number): string;
}

/** Saves a guest: a section for each of its machine's devices, or one with what it calls its state. */
export async function saveGuest(guest: LiveGuest): Promise<SavedGuest> {
  if (guest.machine !== undefined) {
    const { devices } = guest.machine;
    const sections = devices.save(GUEST_SECTION_ID);
    return { sections, describe: (targetPageSize) => devices.describe(targetPageSize) };
  }
  const state = await guest.save();
  return {
    sections: encodeGuestSection(GUEST_SECTION_ID, state),
    describe: (targetPageSize) => describeGuestSection(state.length, targetPageSize),
  };
}
