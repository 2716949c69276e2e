/** The end of a stream that never switched to postcopy: device state, and how to tell where it ends. */

import { MAX_PACKAGE_BYTES } from "../../migration/protocol/constants.ts";
import { type DeviceStateTail, splitDeviceState } from "../../migration/protocol/device_state.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { GrowingBytes } from "./growing_bytes.ts";
import { tooMuchDeviceState } from "./incoming_package.ts";

/** The last byte of a JSON object. */
const CLOSING_BRACE = 0x7d;

/**
 * Gathers everything behind the memory of a precopy stream. Its sections carry no length, and a
 * source with a return path keeps the connection open until it hears SHUT: so the end is where the
 * description closes that the stream itself carries, with a length that leads exactly there.
 */
export class PrecopyEnd {
  readonly #gathered = new GrowingBytes();

  /**
   * Adds the next bytes.
   *
   * @returns the device state once it is complete
   * @throws {MigrationError} when it is longer than anybody's
   */
  add(bytes: Uint8Array, at: number, length: number): DeviceStateTail | undefined {
    this.#gathered.add(bytes, at, length);
    const gathered = this.#gathered.bytes;
    if (gathered.length > MAX_PACKAGE_BYTES) throw tooMuchDeviceState(gathered.length);
    if (gathered[gathered.length - 1] !== CLOSING_BRACE) return undefined;
    try {
      const tail = splitDeviceState(gathered);
      if (tail.description !== undefined) JSON.parse(tail.description);
      return tail;
    } catch (error) {
      // A brace inside.
      if (error instanceof ProtocolError || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /**
   * The source has closed the connection: whatever came is all there is. Machine types that suppress
   * the description (before QEMU 2.3) end so.
   *
   * @throws {ProtocolError} when that is not the end of a stream
   */
  close(): DeviceStateTail {
    return splitDeviceState(this.#gathered.bytes);
  }
}
