/** `serve --listen ADDRESS [NAME=]IMAGE...`: a page server. */

import {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
} from "../../ffi/socket_address.ts";
import type { Image } from "../../image/image.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { openMemoryFile } from "../../image/raw/memory_file.ts";
import {
  bytesArgument,
  choiceArgument,
  type Options,
  type OptionValues,
  UsageError,
} from "../../migration/command/arguments.ts";
import { Interrupted, onHeldInterrupt, onInterrupt } from "../../migration/command/interrupt.ts";
import { warnLine } from "../../migration/command/output.ts";
import { newReporter } from "../../migration/command/reporter.ts";
import { STALL_OPTION, stallTimeoutArgument } from "../../migration/command/stall_timeout.ts";
import {
  authorizedArgument,
  credentialsArgument,
  TLS_SERVER_OPTIONS,
  verifyPeerArgument,
} from "../../migration/command/tls_options.ts";
import { PageServer, type PageServerOptions } from "../listening/page_server.ts";
import type { ServedImageOptions } from "../listening/served_image.ts";
import { ExitCode } from "./command_line.ts";
import { ORDER_OPTIONS, type OrderArguments, orderArguments } from "./order_arguments.ts";
import { OrderKeeper } from "./order_keeper.ts";
import { type ListenEvent, neededText, tellListen } from "./serve_listen_report.ts";

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 500;

/** How IMAGE is read. */
const FORMATS = ["image", "raw"] as const;

/** What `serve` has for this alone. */
export const LISTEN_OPTIONS = {
  listen: {
    value: "ADDRESS",
    help:
      "be a page server here, tcp:HOST:PORT or unix:PATH: clients ask for images by NAME, which is the " +
      "file's own unless said",
  },
  format: {
    value: FORMATS.join("|"),
    help:
      "with --listen: how every IMAGE is read; default image; raw: its bytes are the memory, as " +
      "Firecracker writes it",
  },
  "tls-authz": TLS_SERVER_OPTIONS["tls-authz"],
} as const satisfies Options;

/** All that goes with `--listen`. */
const OPTIONS = {
  ...LISTEN_OPTIONS,
  ...TLS_SERVER_OPTIONS,
  ...STALL_OPTION,
  ...ORDER_OPTIONS,
  "max-postcopy-bandwidth": { value: "BYTES", help: "" },
  json: { help: "" },
} as const satisfies Options;

/** Of them, what has no meaning here. */
const MEANINGLESS: readonly string[] = ["warm"];

interface ListenArguments {
  readonly address: SocketAddress;
  /** Files by their names. */
  readonly files: ReadonlyMap<string, string>;
  readonly raw: boolean;
  readonly order: OrderArguments;
  readonly json: boolean;
  readonly server: Omit<PageServerOptions, "images">;
}

/**
 * Sees that nothing is passed over that belongs to `--listen`.
 *
 * @throws {UsageError} when it would be
 */
export function refuseListening(values: OptionValues<typeof LISTEN_OPTIONS>): void {
  for (const name of ["format", "tls-authz"] as const) {
    if (values[name] === undefined) continue;
    throw new UsageError(`--${name} goes with --listen: leave it out, or say where to listen`);
  }
}

/**
 * Serves images to clients until it is told to end.
 *
 * @param values options of `serve`
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ImageError} for an image that cannot be used
 * @throws {TlsError} for credentials that cannot be used
 * @throws {SyscallError} when it cannot listen
 */
export async function listenCommand(
  values: Readonly<Record<string, unknown>>,
  positionals: readonly string[],
): Promise<number> {
  const { address, files, raw, order, json, server: options } = readArguments(values, positionals);
  const reporter = newReporter<ListenEvent>(json, tellListen);
  warnOfClear(address, options);
  using stack = new DisposableStack();
  const images: ServedImageOptions[] = [];
  for (const [name, path] of files) {
    const image = stack.use(await open(path, raw));
    images.push({ name, image, order: () => OrderKeeper.open(image, order) });
  }
  await using server = await PageServer.open({
    ...options,
    images,
    onEvent: (event) => reporter.event(event),
  });
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  using _interrupt = onHeldInterrupt({
    isHeld: () => server.clients > 0,
    hold: (signal) => {
      if (signal === "SIGINT") return reporter.note(neededText(server.clients));
      reporter.note(`${signal}: ends when no client needs it any more`);
      server.idle().then(() => end(ExitCode.DONE));
    },
    end: (held) => end(held ? ExitCode.INTERRUPTED : ExitCode.DONE),
  });
  const listening = formatSocketAddress(await server.listen(address));
  reporter.event({
    event: "listening",
    address: listening,
    images: images.map(({ name, image: { path, layout } }) => ({
      name,
      path,
      bytes: layout.pageCount * layout.targetPageSize,
    })),
  });
  const timer = setInterval(() => {
    const clients = server.statistics();
    if (clients.length > 0) reporter.event({ event: "progress", clients });
  }, PROGRESS_INTERVAL);
  try {
    return await ended;
  } finally {
    clearInterval(timer);
    reporter.end();
  }
}

/** Opens an image, which may take long when it has no index yet. */
async function open(path: string, raw: boolean): Promise<Image> {
  if (raw) return await openMemoryFile(path, false);
  const abort = new AbortController();
  using _interrupt = onInterrupt(() => abort.abort(new Interrupted("nobody was served")));
  try {
    return await openImage(path, { signal: abort.signal });
  } catch (error) {
    if (error instanceof ImageError && error.code === "not-an-image") {
      warnLine("A file whose bytes are the memory, as Firecracker writes it, needs --format raw");
    }
    throw error;
  }
}

function readArguments(
  values: Readonly<Record<string, unknown>>,
  positionals: readonly string[],
): ListenArguments {
  const foreign = Object.keys(values).find((name) =>
    values[name] !== undefined && (!Object.hasOwn(OPTIONS, name) || MEANINGLESS.includes(name))
  );
  if (foreign !== undefined) {
    throw new UsageError(`--${foreign} does not go with --listen: leave it out`);
  }
  const said = values as OptionValues<typeof OPTIONS>;
  const files = filesArgument(positionals);
  const order = orderArguments(said);
  if (order.order !== undefined && order.order !== "off" && files.size > 1) {
    throw new UsageError(`One order for several images: --order ${order.order}: serve them apart`);
  }
  const credentials = credentialsArgument(said, ["tls-authz", "tls-verify-peer"]);
  const authorized = authorizedArgument(said);
  const verifyPeer = verifyPeerArgument(said);
  const bandwidth = said["max-postcopy-bandwidth"] ?? "0";
  return {
    address: parseSocketAddress(said.listen!),
    files,
    raw: choiceArgument("format", said.format ?? "image", FORMATS) === "raw",
    order,
    json: said.json ?? false,
    server: {
      maxPostcopyBandwidth: bytesArgument("max-postcopy-bandwidth", bandwidth),
      stallTimeout: stallTimeoutArgument(said["stall-timeout"]),
      ...credentials === undefined ? {} : {
        tls: {
          credentials,
          ...authorized === undefined ? {} : { authorized },
          ...verifyPeer === undefined ? {} : { verifyPeer },
        },
      },
    },
  };
}

/** Reads `[NAME=]FILE`: a name has no slash in it, so that a file with a sign of equality is `./FILE`. */
function filesArgument(positionals: readonly string[]): ReadonlyMap<string, string> {
  if (positionals.length === 0) throw new UsageError("No IMAGE given");
  const files = new Map<string, string>();
  for (const text of positionals) {
    const [, said, file = text] = /^([^/=]*)=(.*)$/.exec(text) ?? [];
    const name = said ?? file.slice(file.lastIndexOf("/") + 1);
    if (name === "" || file === "" || new TextEncoder().encode(name).length > 255) {
      throw new UsageError(`No name of 1 to 255 bytes, or no file: ${text}: write NAME=FILE`);
    }
    if (files.has(name)) {
      throw new UsageError(`Two images of one name: ${name}: write NAME=${file} with another`);
    }
    files.set(name, file);
  }
  return files;
}

/** Says when anybody who reaches it can read the memory. */
function warnOfClear(address: SocketAddress, { tls }: Omit<PageServerOptions, "images">): void {
  if (address.transport === "unix" || tls !== undefined) return;
  if (["127.", "::1", "localhost"].some((start) => address.host.startsWith(start))) return;
  warnLine(
    "Not encrypted: guest memory passes in clear, and whoever reaches " +
      `${formatSocketAddress(address)} can read it: use --tls-creds`,
  );
}
