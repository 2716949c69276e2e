/** An end to waits that a broken session would make endless. */

/** Milliseconds for what takes seconds at most. */
const PATIENCE = 120_000;

/**
 * Waits for a promise, but not for ever.
 *
 * @param what is waited for
 * @throws {Error} when it has not come
 */
export async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`Waited ${PATIENCE / 1000} s in vain for ${what}`)),
    PATIENCE,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
