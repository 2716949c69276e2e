/** The state of a live workload guest beside its memory: JSON. */

import { PATTERN_PAGE_BYTES, TestPattern } from "./test_pattern.ts";
import { equalBytes, notAWorkload, savedPattern, type WorkloadState } from "./device_state.ts";

const GUEST = "postcopy-live-workload";
const VERSION = 1;
const OPENING_BRACE = 0x7b;

/** What a workload guest that ran at its source says about itself. */
export interface LiveWorkloadState extends WorkloadState {
  /** Name of the RAM block with the counts of writes; all others hold the pattern's pages. */
  readonly counts: string;
  /** Writes to all pages until the guest was stopped. */
  readonly writes: number;
}

/** Writes a live workload guest's state. */
export function encodeLiveState(state: LiveWorkloadState): Uint8Array<ArrayBuffer> {
  const { pages, counts, writes } = state;
  const whole = { guest: GUEST, version: VERSION, pageBytes: PATTERN_PAGE_BYTES };
  return new TextEncoder().encode(
    JSON.stringify({ ...whole, ...savedPattern(state), pages, counts, writes }),
  );
}

/**
 * Reads what {@linkcode encodeLiveState} wrote.
 *
 * @returns undefined for the device state of a guest from an image, or from elsewhere
 * @throws {WorkloadError} `NOT_A_WORKLOAD` for other JSON
 */
export function parseLiveState(bytes: Uint8Array): LiveWorkloadState | undefined {
  if (bytes[0] !== OPENING_BRACE) return undefined;
  try {
    const saved = JSON.parse(new TextDecoder().decode(bytes));
    const { pages, counts, writes } = saved;
    const state = { ...new TestPattern(saved).settings, pages, counts, writes };
    if (!equalBytes(encodeLiveState(state), bytes)) throw new RangeError("Other bytes");
    return state;
  } catch (cause) {
    throw notAWorkload(bytes, cause);
  }
}
