/** The options of `migrate`, as a request has them: only what was said, the daemon's configuration says the rest. */

import {
  bytesArgument,
  type Options,
  type OptionValues,
  secondsArgument,
  UsageError,
} from "../../migration/command/arguments.ts";
import { ACCESS_OPTIONS, accessArguments } from "../../client/command/access_options.ts";
import {
  DECOMPRESS_OPTION,
  decompressThreadsArgument,
  LISTEN_OPTION,
  listenArgument,
  MULTIFD_OPTION,
  multifdArgument,
} from "../../client/command/command_line.ts";
import {
  APPROVAL_OPTIONS,
  switchoverAckArguments,
} from "../../migration/command/switchover_ack_options.ts";
import { HUGE_PAGES_OPTION, hugePagesArgument } from "../../server/command/huge_pages_argument.ts";
import { ORDER_OPTIONS, orderArguments } from "../../server/command/order_arguments.ts";
import { OUTGOING_OPTIONS, outgoingArguments } from "../../server/command/outgoing_arguments.ts";

/** Credentials are where the daemon is. */
export const TLS_CREDS = {
  value: "NAME",
  help:
    "encrypt every connection with TLS: a directory with certificates as QEMU names them, or a file of " +
    "pre-shared keys, by its name in the directory of credentials that the daemon's configuration names",
} as const;

/** Files of orders are where the daemon is, too. */
export const ORDER_OFF = {
  value: "off",
  help: "off: the order of first touch that is kept beside the image is neither used nor kept",
} as const;

/** The options of one that is sent. */
export const SEND_OPTIONS = {
  ...OUTGOING_OPTIONS,
  "tls-creds": TLS_CREDS,
  order: ORDER_OFF,
  warm: ORDER_OPTIONS.warm,
  record: ORDER_OPTIONS.record,
  offset: {
    value: "BYTES",
    help: "where in the image's file the stream begins (suffix K, M or G)",
  },
  ...HUGE_PAGES_OPTION,
  "postcopy-after": {
    value: "SECONDS|signal",
    help:
      "with --multifd-channels: after so long the guest runs at the destination, which must have " +
      "postcopy-ram on, and the rest follows on demand; signal: once a program asks for it by HTTP (POST " +
      "/v1/migrations/SESSION/postcopy); default: it runs there once all has come",
  },
  recover: {
    help:
      "go on with a destination that is paused since something else that served this image ended or broke; a " +
      "migration of the daemon itself goes on by itself, or by postcopy recover",
  },
  "start-anew": {
    help:
      "start the machine from the image although it was handed over before and did not complete, which is " +
      "refused otherwise: when that one is gone for good, and its disks are as they were at the save; one that is " +
      "still there, paused, could be lost",
  },
} as const satisfies Options;

/** The options of one that is received. */
export const RECEIVE_OPTIONS = {
  ...LISTEN_OPTION,
  recover: {
    value: "PARTIAL",
    help:
      "take up the file that a receive left which was killed after the switch, by its name in the directory " +
      "of images",
  },
  overwrite: { help: "replace an image of that name" },
  ...DECOMPRESS_OPTION,
  ...MULTIFD_OPTION,
  ...APPROVAL_OPTIONS,
  ...ACCESS_OPTIONS,
  "tls-creds": TLS_CREDS,
} as const satisfies Options;

/** What is posted. */
export type RequestBody = Readonly<Record<string, unknown>>;

/**
 * The request for one that is sent.
 *
 * @throws {UsageError} for an option that cannot be understood
 */
export function sendRequest(image: string, values: OptionValues<typeof SEND_OPTIONS>): RequestBody {
  const { order, recover = false, "start-anew": startAnew = false } = values;
  if (recover && startAnew) {
    throw new UsageError(
      "Both --recover and --start-anew given: --recover goes on with the guest; leave the other out",
    );
  }
  const read = outgoingArguments(values);
  const { options: ordered } = orderArguments(values);
  const { compress, multifd, tls } = read;
  return given({
    direction: "outgoing",
    image,
    to: values.to,
    mode: values.mode && read.mode,
    maxPostcopyBandwidth: values["max-postcopy-bandwidth"] && read.maxPostcopyBandwidth,
    stallTimeout: values["stall-timeout"] && read.stallTimeout,
    recoverTimeout: read.recoverTimeout,
    spin: values.spin && read.spin,
    switchoverAck: read.switchoverAck,
    switchoverAckLegacy: read.switchoverAckLegacy,
    compress,
    multifd,
    tls,
    order: orderOff(order),
    ...ordered,
    offset: values.offset && bytesArgument("offset", values.offset),
    hugePages: hugePagesGiven(values["huge-pages"]),
    postcopyAfter: values["postcopy-after"] === "signal" ? "signal" : values["postcopy-after"] &&
      secondsArgument("postcopy-after", values["postcopy-after"]),
    recover: recover || undefined,
    startAnew: startAnew || undefined,
  });
}

/**
 * The request for one that is received.
 *
 * @throws {UsageError} for an option that cannot be understood
 */
export function receiveRequest(
  image: string,
  values: OptionValues<typeof RECEIVE_OPTIONS>,
): RequestBody {
  listenArgument(values.listen);
  const access = accessArguments(values);
  const { tls } = access;
  return given({
    direction: "incoming",
    image,
    listen: values.listen,
    recover: values.recover,
    overwrite: values.overwrite,
    decompressThreads: values["decompress-threads"] &&
      decompressThreadsArgument(values["decompress-threads"]),
    ...multifdArgument(values.multifd),
    ...switchoverAckArguments(values),
    stallTimeout: values["stall-timeout"] && access.stallTimeout,
    allowFrom: access.allowFrom,
    tls: tls && given({
      credentials: tls.credentials,
      authorized: tls.authorized,
      verifyPeer: tls.verifyPeer,
    }),
  });
}

/**
 * Reads --order, of which a daemon takes one word.
 *
 * @throws {UsageError} for any other
 */
export function orderOff(order: string | undefined): string | undefined {
  if (order === undefined || order === "off") return order;
  throw new UsageError(`Unknown --order: ${order}: use off, or leave it out`);
}

/** As they were written, once they can be understood. */
function hugePagesGiven(text: string | undefined): readonly string[] | undefined {
  hugePagesArgument(text);
  return text?.split(",");
}

/** What was said of all that can be. */
export function given(all: Readonly<Record<string, unknown>>): RequestBody {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
