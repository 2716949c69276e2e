/** Closing a connection whose other end may still be speaking. */

import { PollEvents } from "../ffi/poll.ts";
import { waitReady } from "../ffi/wait_ready.ts";
import type { ConnectionInit } from "./connection.ts";
import { ReceivingEnd } from "./receiving_end.ts";
import { FROM_SOURCE } from "./role.ts";

/** Milliseconds for the other end to close first. */
const LINGER = 2_000;
const RECEIVE_BYTES = 64 * 1024;

/**
 * Lets a source that has heard the end close first: an unread byte here would make the kernel cut off
 * what it was told last.
 */
export async function linger(main: ConnectionInit): Promise<void> {
  const bytes = new Uint8Array(RECEIVE_BYTES);
  const from = new ReceivingEnd(main, FROM_SOURCE.MAIN, { bytes, capacity: bytes.length });
  const nothing = { decode: (_bytes: Uint8Array, _start: number, end: number) => end };
  const end = performance.now() + LINGER;
  try {
    while (!from.ended) {
      if (from.receive() > 0) {
        from.decode(nothing);
        continue;
      }
      const left = Math.ceil(end - performance.now());
      if (left <= 0) return;
      if (!from.ended) {
        await waitReady(from.fd, PollEvents.IN, "the source's end", { timeout: left });
      }
    }
  } catch {
    // Still there: it has had its time.
  }
}
