/** The signal by which a user ends a precopy: the guest runs at the destination, whatever memory is missing. */

/**
 * Its name. It is not SIGUSR1, on which Deno opens its debugger's port, whoever else listens for it (Deno 2.9.6).
 */
export const POSTCOPY_SIGNAL = "SIGUSR2";

/** What a user types to send it to this process. */
export function postcopySignalCommand(): string {
  return `kill -USR2 ${Deno.pid}`;
}

/** Calls back when the user asks for postcopy, until it is disposed of. */
export function onPostcopySignal(listener: () => void): Disposable {
  Deno.addSignalListener(POSTCOPY_SIGNAL, listener);
  return { [Symbol.dispose]: () => Deno.removeSignalListener(POSTCOPY_SIGNAL, listener) };
}
