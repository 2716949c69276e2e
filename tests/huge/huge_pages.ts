/** Bytes of the host pages tested here. */
export const HUGE = 2 * 1024 * 1024;

/** Bytes of the largest there are. */
export const GIGANTIC = 2 ** 30;
