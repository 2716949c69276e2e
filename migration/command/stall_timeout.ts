/** The option --stall-timeout, the same at both ends. */

import { secondsArgument, UsageError } from "./arguments.ts";

/** The default, in seconds: that of every socket (`DEFAULT_STALL_TIMEOUT` of ffi/peer_watch.ts). */
const DEFAULT = 30;

/** The option, for `parseCommand`. */
export const STALL_OPTION = {
  "stall-timeout": {
    value: "SECONDS",
    help:
      "notice within about so long that the other end is gone without a word (host down, cable " +
      `pulled) or takes nothing; give both ends the same; default ${DEFAULT}`,
  },
} as const;

/**
 * Reads the option.
 *
 * @param text what stands after the flag, if it was given
 * @returns milliseconds
 * @throws {UsageError} when it is no time, or none at all
 */
export function stallTimeoutArgument(text: string | undefined): number {
  if (text === undefined) return DEFAULT * 1000;
  if (Number(text) === 0 && text.trim() !== "") {
    throw new UsageError(
      `No time to wait: --stall-timeout ${text}: a peer that is gone without a word would never be ` +
        "noticed, or at once: write seconds above 0, 86400 for a day",
    );
  }
  return secondsArgument("stall-timeout", text);
}
