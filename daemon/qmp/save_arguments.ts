/** The options of `save`. */

import {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
} from "../../ffi/socket_address.ts";
import { ACCESS_OPTIONS, accessArguments } from "../../client/command/access_options.ts";
import {
  DECOMPRESS_OPTION,
  decompressThreadsArgument,
  MULTIFD_OPTION,
  multifdArgument,
} from "../../client/command/command_line.ts";
import type { ImageReceiverOptions } from "../../client/receive/image_receiver.ts";
import {
  bytesArgument,
  type Options,
  type OptionValues,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import { QEMU_TLS_OPTION } from "./qemu_tls.ts";
import { QMP_OPTION, qmpArgument } from "./qmp_options.ts";

/** Bytes a second that no machine reaches: what QEMU takes for no limit. */
const NO_LIMIT = 1e12;

/** The options, for `parseCommand`. */
export const SAVE_OPTIONS = {
  ...QMP_OPTION,
  live: {
    help:
      "let the guest run while its memory is copied; default: it is stopped first, so that each page comes " +
      "once. One that writes faster than the image is written is never saved so",
  },
  quit: { help: "end QEMU once the image was seen to be whole" },
  overwrite: { help: "replace an image of that name" },
  "max-bandwidth": {
    value: "BYTES",
    help: "bytes a second that QEMU sends (suffix K, M or G); default 0: no limit",
  },
  listen: {
    value: "ADDRESS",
    help:
      "where QEMU is waited for here: tcp:HOST:PORT (port 0: one that is free) or unix:PATH; default: a " +
      "private socket beside its monitor, when that is a unix socket",
  },
  "migrate-uri": {
    value: "ADDRESS",
    help: "by what QEMU reaches that, where it is another address for it; port 0: the same port",
  },
  ...DECOMPRESS_OPTION,
  multifd: {
    ...MULTIFD_OPTION.multifd,
    help:
      "have QEMU send on so many channels beside the main one (its capability multifd); default none",
  },
  ...ACCESS_OPTIONS,
  ...QEMU_TLS_OPTION,
  "qemu-tls-hostname": {
    value: "NAME",
    help:
      "the name or address that this end's certificate has, for QEMU to look for; default the host that it " +
      "connects to; needed with certificates over a unix socket",
  },
  json: {
    help:
      "print JSON objects, one a line, as receive does; the result has QEMU's figures as source",
  },
} as const satisfies Options;

/** What was asked for. */
export interface SaveArguments {
  readonly qmp: SocketAddress;
  readonly path: string;
  readonly live: boolean;
  readonly quit: boolean;
  readonly json: boolean;
  /** Undefined: a private socket. */
  readonly listen: SocketAddress | undefined;
  readonly migrateUri: SocketAddress | undefined;
  /** Bytes a second. */
  readonly maxBandwidth: number;
  readonly qemuTls: string | undefined;
  readonly qemuTlsHostname: string | undefined;
  readonly receiver: ImageReceiverOptions;
}

/**
 * Reads the options.
 *
 * @throws {UsageError} for arguments that cannot be understood
 */
export function saveArguments(args: readonly string[]): SaveArguments {
  const { values, positionals } = parseCommand(args, SAVE_OPTIONS);
  const [path, extra] = positionals;
  if (path === undefined || path === "") throw new UsageError("No IMAGE given: say what to write");
  if (extra !== undefined) throw new UsageError(`One IMAGE at a time: ${extra}`);
  return {
    path,
    live: values.live ?? false,
    quit: values.quit ?? false,
    json: values.json ?? false,
    ...addresses(values),
    maxBandwidth: bytesArgument("max-bandwidth", values["max-bandwidth"] ?? "0") || NO_LIMIT,
    qemuTls: values["qemu-tls-creds"],
    qemuTlsHostname: values["qemu-tls-hostname"],
    receiver: {
      path,
      overwrite: values.overwrite ?? false,
      decompressThreads: decompressThreadsArgument(values["decompress-threads"]),
      ...multifdArgument(values.multifd),
      ...accessArguments(values),
    },
  };
}

function addresses(
  values: OptionValues<typeof SAVE_OPTIONS>,
): Pick<SaveArguments, "qmp" | "listen" | "migrateUri"> {
  const qmp = qmpArgument(values.qmp);
  const listen = values.listen === undefined ? undefined : parseSocketAddress(values.listen);
  const uri = values["migrate-uri"];
  const migrateUri = uri === undefined ? undefined : parseSocketAddress(uri);
  if (listen === undefined && migrateUri !== undefined) {
    throw new UsageError(`--migrate-uri ${uri} without --listen: say where to listen too`);
  }
  if (listen === undefined && qmp.transport === "tcp") {
    throw new UsageError(
      `No address to listen at for a QEMU that may be on another host: ${
        formatSocketAddress(qmp)
      }: say ` +
        "where by --listen tcp:0.0.0.0:4444, and how QEMU reaches it by --migrate-uri tcp:THISHOST:0",
    );
  }
  if (qmp.transport === "tcp" && migrateUri === undefined && isEverywhere(listen!)) {
    throw new UsageError(
      `QEMU cannot be told to connect to any address: --listen ${values.listen}: say how it reaches this ` +
        "host by --migrate-uri tcp:THISHOST:0",
    );
  }
  return { qmp, listen, migrateUri };
}

function isEverywhere(address: SocketAddress): boolean {
  return address.transport === "tcp" && ["0.0.0.0", "::"].includes(address.host);
}

/**
 * What QEMU is told to connect to.
 *
 * @param listening where this end listens
 */
export function migrateUriOf(
  listening: SocketAddress,
  { migrateUri }: Pick<SaveArguments, "migrateUri">,
): string {
  if (migrateUri?.transport === "tcp" && migrateUri.port === 0 && listening.transport === "tcp") {
    return formatSocketAddress({ ...migrateUri, port: listening.port });
  }
  if (migrateUri !== undefined) return formatSocketAddress(migrateUri);
  if (listening.transport === "tcp" && isEverywhere(listening)) {
    return formatSocketAddress({ ...listening, host: "127.0.0.1" });
  }
  return formatSocketAddress(listening);
}
