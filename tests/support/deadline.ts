/** Deadlines: they turn a hang into a failure, and are never what a test waits for. */

/**
 * Settles as the promise does, or fails when that takes too long.
 *
 * @param what what did not happen, for the message
 * @param promise what is waited for
 * @param milliseconds far more than it can take; default a minute
 */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  milliseconds = 60_000,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`Not within ${milliseconds / 1000} s: ${what}`)),
    milliseconds,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Looks again and again until something holds that sends no event, such as another thread's counter.
 *
 * @param what what is waited for, for the message
 */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  milliseconds = 60_000,
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`Not within ${milliseconds / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
