/** The options of every command that sends a guest away. */

import { parseSocketAddress } from "../../ffi/socket_address.ts";
import {
  bytesArgument,
  choiceArgument,
  countArgument,
  type Options,
  type OptionValues,
  UsageError,
  waitArgument,
} from "../../migration/command/arguments.ts";
import { STALL_OPTION, stallTimeoutArgument } from "../../migration/command/stall_timeout.ts";
import {
  SWITCHOVER_ACK_OPTIONS,
  switchoverAckArguments,
} from "../../migration/command/switchover_ack_options.ts";
import { TLS_CLIENT_OPTIONS, tlsClientArguments } from "../../migration/command/tls_options.ts";
import { COMPRESS_OPTIONS, compressArgument } from "./compress_arguments.ts";
import { MULTIFD_OPTIONS, multifdArgument } from "./multifd_arguments.ts";
import { MODES } from "../sending/mode.ts";
import type { OutgoingOptions } from "../outgoing/outgoing_options.ts";

/** The options, for `parseCommand`. */
export const OUTGOING_OPTIONS = {
  to: {
    value: "ADDRESS",
    help: "where the destination listens: tcp:HOST:PORT or unix:PATH",
  },
  mode: {
    value: "MODE",
    help:
      "how pages that are asked for are sent: preempt-full (default), preempt or vanilla; the " +
      "destination's capability postcopy-preempt must be on for the first two",
  },
  "max-postcopy-bandwidth": {
    value: "BYTES",
    help: "bytes a second of the background stream (suffix K, M or G) once the guest runs at the " +
      "destination; pages that are asked for are never limited; default 0: no limit",
  },
  ...STALL_OPTION,
  "recover-timeout": {
    value: "SECONDS",
    help: "try for so long to connect again when the connection broke after the guest ran at the " +
      "destination; default: as long as it takes",
  },
  spin: {
    value: "MICROSECONDS",
    help:
      "look for the next request so long before sleeping: lower latency for a busy core; default 0",
  },
  ...COMPRESS_OPTIONS,
  ...MULTIFD_OPTIONS,
  ...SWITCHOVER_ACK_OPTIONS,
  ...TLS_CLIENT_OPTIONS,
} as const satisfies Options;

/**
 * Reads the options.
 *
 * @throws {UsageError} for one that cannot be understood, or when it is not said where to
 */
export function outgoingArguments(values: OptionValues<typeof OUTGOING_OPTIONS>): OutgoingOptions {
  if (values.to === undefined) {
    throw new UsageError("No destination given: say where it listens with --to tcp:HOST:PORT");
  }
  const compress = compressArgument(values);
  const multifd = multifdArgument(values);
  if (compress !== undefined && multifd !== undefined) {
    throw new UsageError(
      `Both --compress ${compress.method} and --multifd-channels ${multifd.channels} given: compress by ` +
        `--multifd-compression ${compress.method}, or leave the channels out`,
    );
  }
  const tls = tlsClientArguments(values);
  const bandwidth = values["max-postcopy-bandwidth"] ?? "0";
  return {
    to: parseSocketAddress(values.to),
    mode: choiceArgument("mode", values.mode ?? "preempt-full", MODES),
    maxPostcopyBandwidth: bytesArgument("max-postcopy-bandwidth", bandwidth),
    stallTimeout: stallTimeoutArgument(values["stall-timeout"]),
    ...values["recover-timeout"] === undefined
      ? {}
      : { recoverTimeout: waitArgument("recover-timeout", values["recover-timeout"]) },
    spin: countArgument("spin", values.spin ?? "0"),
    ...compress === undefined ? {} : { compress },
    ...multifd === undefined ? {} : { multifd },
    ...switchoverAckArguments(values),
    ...tls === undefined ? {} : { tls },
  };
}
