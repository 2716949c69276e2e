/** Waiting that can be ended. */

/**
 * Waits.
 *
 * @returns false when it was told to end meanwhile
 */
export async function passed(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(true), milliseconds);
  const end = () => resolve(false);
  signal.addEventListener("abort", end, { once: true });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
