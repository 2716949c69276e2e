/** Mistakes of this program that nobody caught: one of them must not end what all other guests need. */

/**
 * Has what nobody caught told, in place of ending the process, until it is disposed of.
 *
 * @param tell is told it
 */
export function survivingMistakes(tell: (error: unknown) => void): Disposable {
  const rejected = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    tell(event.reason);
  };
  const thrown = (event: ErrorEvent) => {
    event.preventDefault();
    tell(event.error ?? event.message);
  };
  globalThis.addEventListener("unhandledrejection", rejected);
  globalThis.addEventListener("error", thrown);
  return {
    [Symbol.dispose]: () => {
      globalThis.removeEventListener("unhandledrejection", rejected);
      globalThis.removeEventListener("error", thrown);
    },
  };
}
