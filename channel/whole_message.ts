/** One message at the beginning of a connection, for the control plane. */

import { Errno } from "../ffi/errno.ts";
import { PollEvents } from "../ffi/poll.ts";
import { type WaitOptions, waitReady } from "../ffi/wait_ready.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { Connection } from "./connection.ts";

/**
 * Receives a message whole, and no byte behind it: that belongs to the channel which the connection becomes.
 *
 * @param connection nobody else receives from meanwhile
 * @param room as long as the longest message
 * @param lengthOf says how long the message is at least, by the beginning of it that has come
 * @param peer who says it, for messages
 * @returns the message, in a part of `room`
 * @throws {MigrationError} `CONNECTION_LOST` when the connection ends first
 * @throws {DOMException} `TimeoutError` of `wait`, which is for each piece; the signal's reason
 * @throws what `lengthOf` throws
 */
export async function receiveWhole(
  connection: Connection,
  room: Uint8Array,
  lengthOf: (bytes: Uint8Array, length: number) => number,
  peer: string,
  wait: WaitOptions,
): Promise<Uint8Array> {
  let filled = 0;
  for (let length = lengthOf(room, 0); filled < length; length = lengthOf(room, filled)) {
    const count = connection.receiveFew(room.subarray(0, length), filled);
    if (count > 0) filled += count;
    else if (count === -Errno.EAGAIN) {
      await waitReady(connection.fd, PollEvents.IN, `a message of ${peer}`, wait);
    } else {
      throw new MigrationError(
        "CONNECTION_LOST",
        `Connection ended before it was said what it is for: ${peer}`,
        connection.failure === undefined ? {} : { cause: connection.failure },
      );
    }
  }
  return room.subarray(0, filled);
}
