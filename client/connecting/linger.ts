/** Closing a connection whose other end may still be speaking. */

import type { Socket } from "../../ffi/socket.ts";

/** Milliseconds for the other end to close first. */
const LINGER = 2_000;

/**
 * Lets a source that has heard the end close first: an unread byte here would make the kernel cut off
 * what it was told last.
 */
export async function linger(main: Socket): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  const end = performance.now() + LINGER;
  try {
    let left = LINGER;
    while (left > 0 && await main.receive(buffer, { timeout: left }) > 0) {
      left = Math.ceil(end - performance.now());
    }
  } catch {
    // Gone already, or still there: it has had its time.
  }
}
