/** What ends a demo early. */

/**
 * Returns a signal that is aborted on Ctrl-C and the like, and when the time is up.
 *
 * @param timeout milliseconds
 */
export function stopSignal(timeout: number): AbortSignal {
  const controller = new AbortController();
  const stop = (why: string): void => controller.abort(new Error(why));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => stop(`Interrupted by ${signal}`));
  }
  setTimeout(() => stop(`Not done after ${timeout / 1000} s`), timeout);
  return controller.signal;
}
