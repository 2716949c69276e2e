/** The end of a stream that never switched to postcopy: device state, and how to tell where it ends. */

import { ELEMENT, MAX_PACKAGE_BYTES } from "../../migration/protocol/constants.ts";
import type { DeviceStateTail } from "../../migration/protocol/device_state.ts";
import {
  splitAtDescription,
  splitAtEnd,
  splitDeviceState,
} from "../../migration/protocol/device_state_end.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { GrowingBytes } from "./growing_bytes.ts";
import { tooMuchDeviceState } from "./incoming_package.ts";

/** The last byte of a JSON object. */
const CLOSING_BRACE = 0x7d;
/**
 * Nanoseconds that a description is waited for, in which a lost packet of it comes again. QEMU sends it
 * at once behind the EOF byte; one that comes later still is missed by nobody who loads the machine.
 */
const DESCRIPTION_WAIT = 500e6;

/**
 * Gathers everything behind the memory of a precopy stream. Its sections carry no length, and a
 * source with a return path keeps the connection open until it hears SHUT: so the end is where the
 * description closes that the stream itself carries, with a length that leads exactly there. A source
 * that describes nothing (`suppress-vmdesc=on`) has said all when whole sections with an EOF byte behind
 * them are followed by silence.
 */
export class PrecopyEnd {
  readonly #gathered = new GrowingBytes();
  /** The last byte so far ends the stream unless a description follows; undefined before it is known. */
  #atEnd: boolean | undefined;
  /** Since when nothing more has come then, in monotonic nanoseconds. */
  #silentSince = 0;

  /**
   * Adds the next bytes.
   *
   * @returns the device state once it is complete
   * @throws {MigrationError} when it is longer than anybody's
   */
  add(bytes: Uint8Array, at: number, length: number): DeviceStateTail | undefined {
    this.#gathered.add(bytes, at, length);
    this.#atEnd = undefined;
    const gathered = this.#gathered.bytes;
    if (gathered.length > MAX_PACKAGE_BYTES) throw tooMuchDeviceState(gathered.length);
    if (gathered[gathered.length - 1] !== CLOSING_BRACE) return undefined;
    const tail = splitAtDescription(gathered);
    return tail !== undefined && isJson(tail.description!) ? tail : undefined;
  }

  /**
   * All that has come so far was added: a source that waits for an answer may have said all.
   *
   * @param now monotonic nanoseconds
   * @returns the device state once it is complete; else nanoseconds until it may be, Infinity when more
   * must come first
   */
  rest(now: number): DeviceStateTail | number {
    if (this.#atEnd === undefined) {
      this.#atEnd = splitAtEnd(this.#gathered.bytes) !== undefined;
      this.#silentSince = now;
    }
    if (!this.#atEnd) return Infinity;
    const left = this.#silentSince + DESCRIPTION_WAIT - now;
    return left > 0 ? left : splitAtEnd(this.#gathered.bytes)!;
  }

  /**
   * The source has closed the connection: whatever came is all there is. Without a description nothing
   * follows the EOF byte, or zeros, where a padded file is sent.
   *
   * @throws {ProtocolError} when that is not the end of a stream
   */
  close(): DeviceStateTail {
    const gathered = this.#gathered.bytes;
    const tail = splitDeviceState(gathered);
    if (tail.description !== undefined) return tail;
    const behind = gathered.subarray(tail.devices.length);
    if (behind.every((byte) => byte === ELEMENT.EOF)) return tail;
    // A source that did not get rid of all of it takes the migration for failed and the guest back.
    throw new ProtocolError(
      "truncated",
      gathered.length,
      "the end of the description",
      "the end of the stream",
      "device state",
    );
  }

  /**
   * The connection has ended, and nobody knows whether the source did that: only its own last byte tells.
   *
   * @returns the device state if the last byte that came can be the stream's; else undefined
   */
  cut(): DeviceStateTail | undefined {
    return splitAtEnd(this.#gathered.bytes);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
