/** The option --postcopy-after: when a precopy over multifd ends, and the rest follows on demand. */

import {
  type Options,
  type OptionValues,
  secondsArgument,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { SourceOptions } from "../source_options.ts";
import type { MultifdValues } from "./multifd_arguments.ts";

/** The option, for `parseCommand`. */
export const POSTCOPY_AFTER_OPTION = {
  "postcopy-after": {
    value: "SECONDS|signal",
    help:
      "with --multifd-channels: after so long, or at SIGUSR2 (kill -USR2), the guest runs at the destination, " +
      "which must have postcopy-ram on, and the rest follows on demand; signal: at SIGUSR2 alone; default: it " +
      "runs there once all has come",
  },
} as const satisfies Options;

/**
 * Reads the option. A precopy is what the channels of multifd are for: without them there is none to end.
 *
 * @throws {UsageError} for one that cannot be understood, or has no meaning
 */
export function postcopyArgument(
  values: OptionValues<typeof POSTCOPY_AFTER_OPTION> & Pick<MultifdValues, "multifd-channels">,
): Pick<SourceOptions, "postcopyAfter"> {
  const seconds = values["postcopy-after"];
  if (seconds === undefined) return {};
  if (values["multifd-channels"] !== undefined) {
    const atSignal = seconds === "signal";
    return { postcopyAfter: atSignal ? Infinity : secondsArgument("postcopy-after", seconds) };
  }
  throw new UsageError(
    `--postcopy-after ${seconds} without --multifd-channels: all pages go on demand at once without them: ` +
      "leave it out, or say how many channels there are",
  );
}
