/** The options that say who may connect to a command that listens. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { type Options, type OptionValues, UsageError } from "../../migration/command/arguments.ts";
import { warnLine } from "../../migration/command/output.ts";
import { STALL_OPTION, stallTimeoutArgument } from "../../migration/command/stall_timeout.ts";
import {
  authorizedArgument,
  credentialsArgument,
  TLS_SERVER_OPTIONS,
  verifyPeerArgument,
} from "../../migration/command/tls_options.ts";
import type { AccessOptions } from "../connecting/access.ts";
import { AllowList } from "../connecting/allow_list.ts";

/** The options. */
export const ACCESS_OPTIONS = {
  ...TLS_SERVER_OPTIONS,
  "allow-from": {
    value: "NETWORKS",
    help:
      "hosts that may connect, such as 192.0.2.0/24,2001:db8::7; for networks where an address " +
      "cannot be forged, as nothing is proved by it",
  },
  ...STALL_OPTION,
} as const satisfies Options;

/**
 * Reads them.
 *
 * @throws {UsageError} for what would be passed over, or cannot be
 */
export function accessArguments(values: OptionValues<typeof ACCESS_OPTIONS>): AccessOptions {
  const credentials = credentialsArgument(values, ["tls-authz", "tls-verify-peer"]);
  const authorized = authorizedArgument(values);
  const allowFrom = networksArgument(values["allow-from"]);
  const verifyPeer = verifyPeerArgument(values);
  return {
    stallTimeout: stallTimeoutArgument(values["stall-timeout"]),
    ...allowFrom === undefined ? {} : { allowFrom },
    ...credentials === undefined ? {} : {
      tls: {
        credentials,
        ...authorized === undefined ? {} : { authorized },
        ...verifyPeer === undefined ? {} : { verifyPeer },
        onWarning: (warning) => warnLine(`postcopy: ${warning}`),
      },
    },
  };
}

/** Says, at the start of a listener, when anybody who reaches it can use it. */
export function warnOfClear(address: SocketAddress, { tls, allowFrom }: AccessOptions): void {
  if (address.transport === "unix" || tls !== undefined) return;
  if (["127.", "::1", "localhost"].some((start) => address.host.startsWith(start))) return;
  const who = allowFrom === undefined ? "whoever reaches" : "whoever can use an allowed address at";
  warnLine(
    `Not encrypted: guest memory passes in clear, and ${who} ${
      formatSocketAddress(address)
    } is taken ` +
      `for the source: use --tls-creds${allowFrom === undefined ? ", or --allow-from" : ""}`,
  );
}

function networksArgument(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const networks = text.split(",").map((network) => network.trim()).filter((part) => part !== "");
  try {
    new AllowList(networks);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--allow-from: ${error.message}`);
    throw error;
  }
  return networks;
}
