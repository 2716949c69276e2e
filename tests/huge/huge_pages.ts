/** Bytes of the host pages tested here. */
export const HUGE = 2 * 1024 * 1024;
