/** The options of every command that migrates a running guest. */

import {
  bytesArgument,
  countArgument,
  type Options,
  type OptionValues,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { LiveSourceOptions } from "../live/live_source.ts";
import { OUTGOING_OPTIONS, outgoingArguments } from "./outgoing_arguments.ts";

/** The options, for `parseCommand`. */
export const LIVE_OPTIONS = {
  ...OUTGOING_OPTIONS,
  postcopy: {
    value: "WHEN",
    help: "never, auto (default): when precopy does not converge, now, or after so many rounds; " +
      "SIGUSR2 switches too, unless never",
  },
  "downtime-limit": {
    value: "MILLISECONDS",
    help: "how long the guest may stand still; default 300",
  },
  "max-bandwidth": {
    value: "BYTES",
    help: "bytes a second before the switch (suffix K, M or G); default 0: no limit",
  },
} as const satisfies Options;

/** The options as they are written on the command line. */
export type LiveValues = OptionValues<typeof LIVE_OPTIONS>;

const POSTCOPY_WORDS = ["never", "auto", "now"] as const;

/**
 * Reads the options.
 *
 * @throws {UsageError} for one that cannot be understood, or when it is not said where to
 */
export function liveArguments(values: LiveValues): LiveSourceOptions {
  return {
    ...outgoingArguments(values),
    postcopy: postcopyArgument(values.postcopy ?? "auto"),
    downtimeLimit: countArgument("downtime-limit", values["downtime-limit"] ?? "300"),
    maxBandwidth: bytesArgument("max-bandwidth", values["max-bandwidth"] ?? "0"),
  };
}

function postcopyArgument(text: string): typeof POSTCOPY_WORDS[number] | number {
  const word = POSTCOPY_WORDS.find((each) => each === text);
  if (word !== undefined) return word;
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new UsageError(
      `Unknown --postcopy: ${text}: use ${
        POSTCOPY_WORDS.join(", ")
      }, or a number of rounds from 1 on`,
    );
  }
  return Number(text);
}
