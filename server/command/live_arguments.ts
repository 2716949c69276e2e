/** The options of every command that migrates a running guest. */

import { parseSocketAddress } from "../../ffi/socket_address.ts";
import {
  bytesArgument,
  choiceArgument,
  countArgument,
  secondsArgument,
  UsageError,
} from "../../migration/command/arguments.ts";
import { COMPRESS_HELP, COMPRESS_OPTIONS, compressArgument } from "./compress_arguments.ts";
import type { LiveSourceOptions } from "../live/live_source.ts";
import { MODES } from "../sending/mode.ts";

/** The options, for `parseCommand`. */
export const LIVE_OPTIONS = {
  to: { type: "string" },
  postcopy: { type: "string" },
  "downtime-limit": { type: "string" },
  "max-bandwidth": { type: "string" },
  "max-postcopy-bandwidth": { type: "string" },
  mode: { type: "string" },
  "stall-timeout": { type: "string" },
  spin: { type: "string" },
  ...COMPRESS_OPTIONS,
} as const;

/** The options as they are written on the command line. */
export type LiveValues = { readonly [Option in keyof typeof LIVE_OPTIONS]?: string | undefined };

/** What {@linkcode LIVE_OPTIONS} mean, for a command's help. */
export const LIVE_HELP = `\
      --to ADDRESS                     where the destination listens: tcp:HOST:PORT or unix:PATH
      --postcopy WHEN                  never, auto (default): when precopy does not converge, now, or
                                       after so many rounds; SIGUSR2 switches too, unless never
      --downtime-limit MILLISECONDS    how long the guest may stand still; default 300
      --max-bandwidth BYTES            bytes a second before the switch (suffix K, M or G); default 0:
                                       no limit
      --max-postcopy-bandwidth BYTES   bytes a second of the background stream after it; pages that are
                                       asked for are never limited; default 0: no limit
      --mode MODE                      preempt-full (default), preempt or vanilla
      --stall-timeout SECONDS          give up on a destination that takes nothing; default 30
      --spin MICROSECONDS              look for the next request so long before sleeping; default 0
${COMPRESS_HELP}`;

const POSTCOPY_WORDS = ["never", "auto", "now"] as const;

/**
 * Reads the options.
 *
 * @throws {UsageError} for one that cannot be understood, or when it is not said where to
 */
export function liveArguments(values: LiveValues): LiveSourceOptions {
  if (values.to === undefined) {
    throw new UsageError("No destination given: say where it listens with --to tcp:HOST:PORT");
  }
  const bytes = (option: "max-bandwidth" | "max-postcopy-bandwidth"): number =>
    bytesArgument(option, values[option] ?? "0");
  const compress = compressArgument(values);
  return {
    to: parseSocketAddress(values.to),
    mode: choiceArgument("mode", values.mode ?? "preempt-full", MODES),
    postcopy: postcopyArgument(values.postcopy ?? "auto"),
    downtimeLimit: countArgument("downtime-limit", values["downtime-limit"] ?? "300"),
    maxBandwidth: bytes("max-bandwidth"),
    maxPostcopyBandwidth: bytes("max-postcopy-bandwidth"),
    stallTimeout: secondsArgument("stall-timeout", values["stall-timeout"] ?? "30"),
    spin: countArgument("spin", values.spin ?? "0"),
    ...compress === undefined ? {} : { compress },
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
