/**
 * The device state of a workload guest from an image: one non-iterable section of a migration stream (a SECTION_FULL
 * of QEMU's stream version 3) whose payload is JSON.
 */

import { PATTERN_PAGE_BYTES, TestPattern, type TestPatternSettings } from "./test_pattern.ts";
import { WorkloadError } from "./workload_error.ts";

const SECTION_FULL = 0x04;
const SECTION_FOOTER = 0x7e;
const SECTION_ID = 1;
const SECTION_NAME = "postcopy-workload";
const SECTION_VERSION = 1;
/** Type, id, name with its length, instance, version, length of the payload. */
const HEADER_BYTES = 1 + 4 + 1 + SECTION_NAME.length + 4 + 4 + 4;
const FOOTER_BYTES = 5;

/** What a workload guest's image says about itself. */
export interface WorkloadState extends TestPatternSettings {
  /** Pages of the pattern in all RAM blocks together, numbered through in the blocks' order. */
  readonly pages: number;
}

/** Writes a workload guest's device state as a source sends it. */
export function encodeWorkloadState(state: WorkloadState): Uint8Array<ArrayBuffer> {
  const { pages } = state;
  const encoder = new TextEncoder();
  const payload = encoder.encode(
    JSON.stringify({ ...savedPattern(state), pages, pageBytes: PATTERN_PAGE_BYTES }),
  );
  const bytes = new Uint8Array(HEADER_BYTES + payload.length + FOOTER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = SECTION_FULL;
  view.setUint32(1, SECTION_ID);
  bytes[5] = SECTION_NAME.length;
  encoder.encodeInto(SECTION_NAME, bytes.subarray(6));
  const at = 6 + SECTION_NAME.length;
  view.setUint32(at, 0); // instance
  view.setUint32(at + 4, SECTION_VERSION);
  view.setUint32(at + 8, payload.length);
  bytes.set(payload, HEADER_BYTES);
  bytes[HEADER_BYTES + payload.length] = SECTION_FOOTER;
  view.setUint32(HEADER_BYTES + payload.length + 1, SECTION_ID);
  return bytes;
}

/**
 * Reads what {@linkcode encodeWorkloadState} wrote.
 *
 * @throws {WorkloadError} `NOT_A_WORKLOAD` for any other device state
 */
export function parseWorkloadState(bytes: Uint8Array): WorkloadState {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = view.getUint32(HEADER_BYTES - 4);
    if (length !== bytes.length - HEADER_BYTES - FOOTER_BYTES) throw new RangeError("Bad length");
    const json = new TextDecoder().decode(bytes.subarray(HEADER_BYTES, HEADER_BYTES + length));
    const saved = JSON.parse(json);
    const state = { ...new TestPattern(saved).settings, pages: saved.pages };
    if (!equalBytes(encodeWorkloadState(state), bytes)) throw new RangeError("Other bytes");
    return state;
  } catch (cause) {
    throw notAWorkload(bytes, cause);
  }
}

/**
 * Returns the settings of a pattern as a state carries them. Repeats are left out when there are none:
 * that is the state of an image made before there were any.
 */
export function savedPattern(settings: TestPatternSettings): TestPatternSettings {
  const { seed, zeroEvery, repeats = 1 } = settings;
  return repeats === 1 ? { seed, zeroEvery } : { seed, zeroEvery, repeats };
}

/** The error for a device state that is no workload guest's. */
export function notAWorkload(bytes: Uint8Array, cause: unknown): WorkloadError {
  return new WorkloadError(
    "NOT_A_WORKLOAD",
    `Device state is not a workload guest's, ${bytes.length} bytes beginning with ${
      firstBytes(bytes)
    }: serve an image made for this guest, or run workload --to at the source`,
    { cause },
  );
}

/** Compares every byte. */
export function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

function firstBytes(bytes: Uint8Array): string {
  return bytes.length === 0 ? "nothing" : bytes.subarray(0, 16).toHex();
}
