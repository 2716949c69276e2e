/** Signals for `receive`: what ends it, and what does not because the guest would be lost. */

import { type EndingSignal, onHeldInterrupt } from "../../migration/command/interrupt.ts";
import type { Reporter } from "../../migration/command/reporter.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { ImageReceiver } from "../receive/image_receiver.ts";
import { lossOf } from "../receive/fate.ts";
import { receiveProgressText } from "./receive_report.ts";

/** Milliseconds between two reports to the log of a service that was told to end, and goes on. */
const LOG_INTERVAL = 10_000;

/**
 * Ends a receiver when the user does, until it is disposed of. Once its source has switched to postcopy for
 * good, SIGTERM and SIGHUP, which a service manager and a lost terminal send, have it finish; Ctrl-C ends
 * it when it comes a second time.
 *
 * @param abort ends the receiver
 * @param reporter is told why it goes on
 */
export function onReceiveSignals(
  receiver: ImageReceiver,
  abort: AbortController,
  reporter: Pick<Reporter<unknown>, "note">,
): Disposable {
  const stack = new DisposableStack();
  let finishing = false;
  const finish = (signal: EndingSignal): void => {
    const progress = () => receiveProgressText(receiver.statistics());
    reporter.note(`${signal}: goes on, for the guest would be lost: ${progress()}`);
    if (finishing) return;
    finishing = true;
    const timer = setInterval(() => reporter.note(progress()), LOG_INTERVAL);
    stack.defer(() => clearInterval(timer));
  };
  stack.use(onHeldInterrupt({
    isHeld: () => receiver.holdsGuest,
    hold: (signal) => {
      if (signal !== "SIGINT") finish(signal);
      else reporter.note(lossOf(receiver.fate, receiver.statistics()));
    },
    end: () => abort.abort(new MigrationError("CANCELLED", "Interrupted")),
  }));
  return stack;
}
