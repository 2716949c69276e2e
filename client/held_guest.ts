/** A guest that is loaded on memory which may never come: how long to wait for it. */

/** Milliseconds between two looks whether a guest that is being loaded is held. */
const HELD_INTERVAL = 10;

/**
 * Waits until a guest has been loaded, or nothing is left that could make it go on.
 *
 * @param loading settles when it has been loaded; undefined when that has not begun
 * @param isHeld whether it waits for a page, and none can come
 * @throws what loading it throws
 */
export async function loadedOrHeld(
  loading: Promise<void> | undefined,
  isHeld: () => boolean,
): Promise<void> {
  const { promise: held, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    if (isHeld()) resolve();
  }, HELD_INTERVAL);
  try {
    await Promise.race([loading, held]);
  } finally {
    clearInterval(timer);
  }
}
