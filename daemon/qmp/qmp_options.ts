/** What both commands that speak to a QEMU share: the option --qmp, exit codes, errors. */

import { parseSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { type Options, UsageError } from "../../migration/command/arguments.ts";
import { MonitorError } from "./monitor_error.ts";

/** The option, for `parseCommand`. */
export const QMP_OPTION = {
  qmp: {
    value: "ADDRESS",
    help:
      "QEMU's QMP monitor: unix:PATH or tcp:HOST:PORT, as in -qmp unix:PATH,server=on,wait=off; it must be " +
      "free for this command as long as it runs",
  },
} as const satisfies Options;

/** Exit codes beside those of the source side's commands. */
export const QmpExitCode = {
  /** QEMU cannot do it, or refuses. */
  UNFIT: 6,
} as const;

/**
 * Reads the option.
 *
 * @throws {UsageError} when it was not given
 * @throws {SocketAddressError} when it is no address
 */
export function qmpArgument(text: string | undefined): SocketAddress {
  if (text === undefined) {
    throw new UsageError("No QEMU named: say where its monitor is with --qmp unix:PATH");
  }
  const [address] = text.split(",server", 1);
  return parseSocketAddress(address!);
}

/** Exit code of a {@linkcode MonitorError}; undefined for any other. */
export function qmpExitCodeOf(error: Error, unreachable: number): number | undefined {
  if (!(error instanceof MonitorError)) return undefined;
  return ["REFUSED", "UNFIT"].includes(error.code) ? QmpExitCode.UNFIT : unreachable;
}
