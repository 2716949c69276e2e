/** Ctrl-C and `kill`, for a command that ends things in order. */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** The user ended the command. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  /** @param fate what became of what the command worked on, as `"the guest is gone"` */
  constructor(fate: string) {
    super(`Interrupted: ${fate}`);
  }
}

/**
 * Calls back when the user ends the command, until it is disposed of.
 *
 * @param listener called for each signal
 */
export function onInterrupt(listener: () => void): Disposable {
  for (const signal of SIGNALS) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]() {
      for (const signal of SIGNALS) Deno.removeSignalListener(signal, listener);
    },
  };
}
