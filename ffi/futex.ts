/** Sleeping until a word of memory changes, by its address: memory of any kind, and any thread's. */

import { errno, libc } from "./libc.ts";
import { Errno } from "./errno.ts";
import { syscallNumbers } from "./platform.ts";

// From include/uapi/linux/futex.h.
const FUTEX_WAIT_PRIVATE = 128;
const FUTEX_WAKE_PRIVATE = 129;
const EVERYBODY = 0x7fff_ffff;

/**
 * Sleeps while a word has a value. May also return without a reason: whoever waits looks again.
 *
 * @param address of a 32-bit word
 * @param value that it has as long as there is nothing new
 * @param milliseconds to sleep at most
 * @returns false when the time is over
 */
export function futexWait(address: bigint, value: number, milliseconds: number): boolean {
  const seconds = Math.floor(milliseconds / 1000);
  const nanoseconds = Math.round((milliseconds - seconds * 1000) * 1e6);
  const time = new Uint8Array(new BigInt64Array([BigInt(seconds), BigInt(nanoseconds)]).buffer);
  const number = BigInt(syscallNumbers().futex);
  const result = libc().futex(number, address, FUTEX_WAIT_PRIVATE, value, time);
  return result === 0n || errno() !== Errno.ETIMEDOUT;
}

/** Wakes everybody who sleeps on a word. */
export function futexWake(address: bigint): void {
  const number = BigInt(syscallNumbers().futex);
  libc().futex(number, address, FUTEX_WAKE_PRIVATE, EVERYBODY, null);
}
