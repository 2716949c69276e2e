/** Whether the memory that a source announced is here, or why it never will be. */

import { MigrationError } from "../../migration/migration_error.ts";
import { otherSection } from "../../migration/protocol/other_section.ts";

/** What is known of the memory when the devices have come behind it. */
export interface MemoryAccount {
  /** The source has said that this was all of it (SECTION_END). */
  readonly ended: boolean;
  /** Some of it came. */
  readonly begun: boolean;
  /** Every page of it came. */
  readonly whole: boolean;
  /** The source hears an answer, and lets go of the guest then. */
  readonly answered: boolean;
}

/**
 * Sees that a guest whose memory was to come before its devices has all of it. The source must have said
 * that this was all, unless it saves a guest that runs on there (`background-snapshot`) and hears no answer
 * either. What a source may leave out is zero, as QEMU loads it.
 *
 * @param devices the device state
 * @throws {MigrationError} `PAGES_MISSING`
 */
export function requireMemory(devices: Uint8Array, memory: MemoryAccount): void {
  if (!memory.ended && memory.answered) throw memoryNotEnded();
  if (memory.begun && (memory.whole || mayLeaveOut(devices))) return;
  throw new MigrationError(
    "PAGES_MISSING",
    "Source did not send all of its memory, and has no device that frees some (virtio-mem, " +
      "virtio-balloon): turn off there what sends it another way, such as the capability multifd",
  );
}

/**
 * A QEMU, which has a `cpu_common`, sends every page, also of zeros, but those that are not plugged or that
 * its guest said are free: others that are missing went over connections that nobody listens to.
 */
function mayLeaveOut(devices: Uint8Array): boolean {
  const text = new TextDecoder("latin1").decode(devices);
  return !text.includes("cpu_common") || text.includes("virtio-mem") ||
    text.includes("virtio-balloon");
}

/**
 * Refuses a section that begins at `bytes[at]` and is no device's: it begins before the guest stops.
 *
 * @throws {MigrationError} `UNSUPPORTED`
 */
export function refuseOther(bytes: Uint8Array, at: number): void {
  const other = otherSection(bytes, at);
  if (other === undefined) return;
  throw new MigrationError(
    "UNSUPPORTED",
    `Source sends a section that cannot be carried yet: ${other.name}: ${other.remedy}`,
  );
}

/** The error for a stream that ends without SECTION_END of `ram`. */
export function memoryNotEnded(): MigrationError {
  return new MigrationError(
    "PAGES_MISSING",
    "Source ended without the end of its memory (SECTION_END of ram): not all of it may be here",
  );
}

/** Why a source with the capability multifd is refused where nobody waits for its channels. */
export function multifdOff(): MigrationError {
  return new MigrationError(
    "UNSUPPORTED",
    "Source has the capability multifd on: give --multifd with as many channels as its multifd-channels, " +
      "or turn it off there",
  );
}

/** Why a source is refused that resumes another guest. */
export function unknownBitmap(block: string): MigrationError {
  return new MigrationError(
    "BAD_PEER",
    "Source asks for the receive bitmap of a RAM block that is not here, see that it resumes the right " +
      `guest: ${block}`,
  );
}

/**
 * Sees that a source that has ended has sent its devices.
 *
 * @param listening whether pages come on demand: then they were to come in a package
 * @param switched whether that came
 * @throws {MigrationError} when it has not
 */
export function requireDevices(listening: boolean, switched: boolean): void {
  if (!listening) throw new MigrationError("UNSUPPORTED", "Source ended without any device state");
  if (switched) return;
  throw new MigrationError("BAD_PEER", "Source ended without sending the device state");
}

/** Why a source is refused that has devices before its memory. */
export function devicesFirst(): MigrationError {
  return new MigrationError(
    "UNSUPPORTED",
    "Source sent device state before its memory: remove the devices that do so (virtio-mem)",
  );
}
