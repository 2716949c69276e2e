/** The three ways of sending a requested page, as QEMU's history has them. */

/**
 * Who sends a requested page, and on which channel:
 * - `vanilla`: the background sender, in turn, on the main channel (QEMU without postcopy-preempt);
 * - `preempt`: the background sender, on the preempt channel (QEMU 7.1 and 7.2);
 * - `preempt-full`: the request server, at once, on the preempt channel (QEMU 8.0 and later).
 */
export const MODES = ["preempt-full", "preempt", "vanilla"] as const;

/** One of {@linkcode MODES}. */
export type Mode = typeof MODES[number];
