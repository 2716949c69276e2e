/** What the threads of a session's ends do in a test, and what they tell of it. */

import type { TlsSessionInit } from "../../ffi/tls/session.ts";

/** What the thread does. */
export interface TrafficJob {
  readonly session: TlsSessionInit;
  readonly direction: "write" | "read";
  /** Of the sequence, which differs for each. */
  readonly seed: number;
  /** What is written at least. */
  readonly bytes: number;
  /** How often the keys are to be changed until writing ends. */
  readonly wantedUpdates: number;
  /** Whether this thread is of the end that changes the keys, as often as OpenSSL can bear. */
  readonly updates: boolean;
  /** Words of {@linkcode Progress}, the same for all threads of both ends. */
  readonly progress: SharedArrayBuffer;
}

/** What the end that does not change the keys has done: words of shared memory. */
export const Progress = {
  /** Bytes read. */
  READ: 0,
  /** Writes done. */
  WRITES: 1,
  /** Changes of keys that the other end has begun. */
  UPDATES: 2,
} as const;

/** What came of it. */
export interface TrafficReport {
  readonly bytes: number;
  /** What went wrong. */
  readonly failure?: string;
  /** Whether a reader was told the end by the closing word. */
  readonly ended?: boolean;
}
