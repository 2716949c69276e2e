/** Having the kernel notice a peer that is gone without a word: its host is down, a cable pulled. */

import { setOption, SocketOption } from "./socket_calls.ts";

/** Milliseconds without a sign of life after which a peer counts as gone, where nothing else is said. */
export const DEFAULT_STALL_TIMEOUT = 30_000;
/** A day: longer waits are for nobody. */
const LONGEST = 86_400_000;

/** Seconds that the kernel takes for keepalive, from include/net/tcp.h: MAX_TCP_KEEPIDLE and -INTVL. */
const LONGEST_KEEP = 32_767;
/** Idle time before the first probe, and between probes, as parts of the stall timeout. */
const IDLE_SHARE = 3;
const INTERVAL_SHARE = 6;
/** Probes without an answer; TCP_USER_TIMEOUT ends it first, on every kernel since 2.6.37. */
const PROBES = INTERVAL_SHARE;

/**
 * Checks a stall timeout.
 *
 * @param milliseconds as the user of the module gave it; undefined for the default
 * @returns milliseconds
 * @throws {RangeError} when it is none
 */
export function checkStallTimeout(milliseconds: number | undefined): number {
  if (milliseconds === undefined) return DEFAULT_STALL_TIMEOUT;
  if (!(milliseconds > 0) || milliseconds > LONGEST) {
    throw new RangeError(
      `No stall timeout: ${milliseconds}: give milliseconds above 0, at most ${LONGEST} (a day)`,
    );
  }
  return milliseconds;
}

/**
 * Has a TCP connection break with ETIMEDOUT when the other end's kernel has given no sign of life for about
 * `stallTimeout`, in both directions and also at rest; then whoever polls it finds an error. A unix socket,
 * whose peer cannot vanish, is left alone. What a listening socket is told, its connections inherit.
 *
 * There are three cases, tried on Linux 6.18 (tests/ffi/peer_watch_test.ts):
 *
 * - At rest: keepalive probes, from a third of the time on. The kernel counts them in whole seconds, so that
 *   less than about two seconds cannot be had here.
 * - Data under way that nobody acknowledges: TCP_USER_TIMEOUT, to the millisecond.
 * - The other end acknowledges and takes nothing, its window being closed, as a process does that was stopped:
 *   TCP_USER_TIMEOUT again, some tenths of a second later than the time since the window closed. A stepped
 *   sender that finds no room for so long has said so by then. One that takes so much within the time that
 *   its window opens again (a sixteenth of its receive buffer) keeps the connection, and so does one that is
 *   stopped while nothing is to be sent to it.
 *
 * @param fd a TCP socket, connected or listening
 * @param stallTimeout milliseconds
 */
export function watchPeer(fd: number, stallTimeout: number): void {
  if (!setOption(fd, SocketOption.USER_TIMEOUT, Math.max(1, Math.ceil(stallTimeout)))) return;
  setOption(fd, SocketOption.KEEP_IDLE, keepSeconds(stallTimeout / IDLE_SHARE));
  setOption(fd, SocketOption.KEEP_INTERVAL, keepSeconds(stallTimeout / INTERVAL_SHARE));
  setOption(fd, SocketOption.KEEP_COUNT, PROBES);
  setOption(fd, SocketOption.KEEP_ALIVE, 1);
}

function keepSeconds(milliseconds: number): number {
  return Math.min(LONGEST_KEEP, Math.max(1, Math.floor(milliseconds / 1000)));
}
