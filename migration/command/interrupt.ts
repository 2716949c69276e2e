/** Ctrl-C, `kill` and a lost terminal, for a command that ends things in order. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** One of the signals that end a command. */
export type EndingSignal = typeof SIGNALS[number];

/** The user ended the command. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  /** @param fate what became of what the command worked on, as `"the guest is gone"` */
  constructor(fate: string) {
    super(`Interrupted: ${fate}`);
  }
}

/** A guest that a command may be needed by, and what its signals do. */
export interface HeldCommand {
  /** Whether a guest needs the command now; asked at each signal. */
  readonly isHeld: () => boolean;
  /** Answers a signal that does not end it: the first Ctrl-C, and every other signal. */
  readonly hold: (signal: EndingSignal) => void;
  /** Ends it: nobody needs it, or, when `held`, this is the second Ctrl-C. */
  readonly end: (held: boolean) => void;
}

/**
 * Ends a command when the user does, until it is disposed of; but while a guest needs it only a second
 * Ctrl-C does. SIGTERM and SIGHUP, which a service manager and a lost terminal send, have it finish.
 */
export function onHeldInterrupt({ isHeld, hold, end }: HeldCommand): Disposable {
  let warned = false;
  return onInterrupt((signal) => {
    if (!isHeld()) return end(false);
    if (signal === "SIGINT") {
      if (warned) return end(true);
      warned = true;
    }
    hold(signal);
  });
}

/**
 * Calls back when the user ends the command, until it is disposed of.
 *
 * @param listener called for each signal, with its name
 */
export function onInterrupt(listener: (signal: EndingSignal) => void): Disposable {
  using stack = new DisposableStack();
  for (const signal of SIGNALS) {
    const hear = () => listener(signal);
    Deno.addSignalListener(signal, hear);
    stack.defer(() => Deno.removeSignalListener(signal, hear));
  }
  return stack.move();
}
