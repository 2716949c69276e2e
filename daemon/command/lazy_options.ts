/** The options of `migrate --firecracker` and `migrate --criu`, as a request has them: only what was said. */

import { CRIU_OPTIONS, treeArguments } from "../../client/command/lazy_criu_command.ts";
import { MEMORY_OPTIONS, memoryArguments } from "../../client/command/lazy_options.ts";
import { type Options, type OptionValues, UsageError } from "../../migration/command/arguments.ts";
import { given, ORDER_OFF, orderOff, type RequestBody, TLS_CREDS } from "./migrate_options.ts";

/** Sockets and directories are where the daemon is. */
const IN_SOCKETS = "by its name in the directory of sockets that the daemon's configuration names";
const IN_CRIU =
  "by its name in the directory of CRIU's images that the daemon's configuration names";

/** Who keeps what was handed over. */
const HELD_BY = {
  value: "SOCKET",
  help: `that of a holder (lazy --holder), ${IN_SOCKETS}, which keeps all that was handed over: ` +
    "should the daemon be killed, the next session with the same options goes on with it",
} as const;

/** The options of a session that serves VMs. */
export const FIRECRACKER_OPTIONS = {
  firecracker: {
    value: "SOCKET",
    help:
      `where Firecracker's VMs connect, the backend_path of a mem_backend of type Uffd, ${IN_SOCKETS}; who ` +
      "connects needs write permission for it",
  },
  ...MEMORY_OPTIONS,
  "tls-creds": TLS_CREDS,
  order: ORDER_OFF,
  dirty: {
    help:
      "have it told what VMs write to, for the next snapshot: GET /v1/lazy/SESSION/dirty; of VMs that register " +
      "their memory for asynchronous write protection (Linux 6.7)",
  },
  "held-by": HELD_BY,
} as const satisfies Options;

/** The options of a session that serves a tree of CRIU's. */
export const TREE_OPTIONS = {
  ...CRIU_OPTIONS,
  criu: {
    value: "DIR",
    help:
      `serve the processes of a criu restore --lazy-pages from CRIU's images in DIR, ${IN_CRIU}`,
  },
  "criu-work-dir": {
    value: "DIR",
    help:
      `the -W of that criu restore, where lazy-pages.socket is made, ${IN_CRIU}; default the DIR of --criu`,
  },
  "on-loss": {
    value: "hold|poison",
    help:
      "when a page cannot be had: hold whoever waits for it until it can be (the default), or give it " +
      "SIGBUS (Linux 6.6); never zeros",
  },
  "no-fill": MEMORY_OPTIONS["no-fill"],
  "held-by": HELD_BY,
} as const satisfies Options;

/**
 * The request for a session that serves VMs.
 *
 * @param image its name, when one was given
 * @throws {UsageError} for an option that cannot be understood
 */
export function firecrackerRequest(
  image: string | undefined,
  values: OptionValues<typeof FIRECRACKER_OPTIONS>,
): RequestBody {
  const { firecracker: socket } = values;
  if (socket === undefined || socket === "") {
    throw new UsageError("No socket given: say where VMs connect with --firecracker SOCKET");
  }
  const read = memoryArguments(image, values, "IMAGE, a name that postcopy images lists");
  return given({
    kind: "firecracker",
    socket,
    image,
    from: read.from,
    format: read.format,
    order: orderOff(values.order),
    record: read.record,
    stallTimeout: values["stall-timeout"] && read.stallTimeout,
    lostAfter: read.lostAfter,
    onLoss: read.onLoss,
    fill: fillSaid(values),
    dirty: values.dirty,
    holder: holderSaid(values),
    tls: read.tls,
  });
}

/**
 * The request for a session that serves a tree of CRIU's.
 *
 * @throws {UsageError} for an option that cannot be understood
 */
export function treeRequest(values: OptionValues<typeof TREE_OPTIONS>): RequestBody {
  const read = treeArguments(values);
  return given({
    kind: "criu",
    images: read.images,
    workDirectory: read.workDirectory,
    pageServer: values["criu-page-server"],
    criuVersion: read.criuVersion,
    onLoss: values["on-loss"] && read.onLoss,
    fill: fillSaid(values),
    holder: holderSaid(values),
  });
}

function holderSaid(values: { readonly "held-by"?: string | undefined }): string | undefined {
  const holder = values["held-by"];
  if (holder !== "systemd") return holder;
  throw new UsageError(
    "The daemon's service keeps no memory of others: --held-by systemd: run a holder (postcopy lazy --holder " +
      "SOCKET), and name its socket",
  );
}

function fillSaid(values: { readonly "no-fill"?: boolean | undefined }): false | undefined {
  return values["no-fill"] ? false : undefined;
}
