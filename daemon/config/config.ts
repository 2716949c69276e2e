/** The configuration of a daemon, as its parts use it. */

import type { AccessOptions } from "../../client/connecting/access.ts";
import type { LazyOptions } from "../../client/lazy/lazy.ts";
import type { ImageReceiverOptions } from "../../client/receive/image_receiver_options.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { SwitchoverAckOptions } from "../../migration/protocol/switchover_ack.ts";
import type { OrderArguments } from "../../server/command/order_arguments.ts";
import type { SourceOptions } from "../../server/source_options.ts";
import type { ImagePlaces } from "../service/image_catalog.ts";

/** The TCP side of the interface. */
export interface TcpConfig {
  readonly listen: Extract<SocketAddress, { transport: "tcp" }>;
  /** PEM files of the certificate, with those between it and its authority, and of its key. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Whether it may do without TLS. */
  readonly insecure: boolean;
  /** File of the token that every client must show. */
  readonly tokenFile: string;
  /** Names by which browsers may call it; addresses and localhost always may be. */
  readonly hosts: readonly string[];
}

/** Where the interface is. */
export interface ApiConfig {
  /** Unix socket; undefined: none. */
  readonly socket: string | undefined;
  /** Group, by name or number, that may use the socket too. */
  readonly group: string | undefined;
  readonly tcp: TcpConfig | undefined;
}

/** How much there may be. */
export interface LimitsConfig {
  /** Sessions that run at a time. */
  readonly sessions: number;
  /** Bytes of memory that the process may need for its own; Infinity: no limit. */
  readonly memory: number;
  /** Bytes a second of all background streams together; 0: no limit. */
  readonly bandwidth: number;
  /** Ended sessions that can still be asked for. */
  readonly ended: number;
}

/** Directories that requests may name files of. */
export interface RequestDirectories {
  /** `lazy` makes and finds sockets there, and `receive` with `unix:`. */
  readonly sockets: string | undefined;
  /** TLS credentials. */
  readonly credentials: string | undefined;
  /** Directories with images of CRIU. */
  readonly criu: string | undefined;
}

/** How the daemon tells what it does. */
export interface LogConfig {
  readonly format: "text" | "json";
  readonly level: "debug" | "info" | "warning" | "error";
}

/** Defaults of outgoing migrations: the section `serve`, with the options of that command. */
export interface ServeDefaults {
  readonly source: Omit<SourceOptions, "to">;
  readonly order: OrderArguments;
}

/** Defaults of incoming migrations: the section `receive`. */
export type ReceiveDefaults =
  & AccessOptions
  & SwitchoverAckOptions
  & Pick<ImageReceiverOptions, "decompressThreads" | "multifdChannels">;

/** Defaults of lazy sessions: the section `lazy`. */
export type LazyDefaults = Pick<
  LazyOptions,
  "format" | "onLoss" | "fill" | "record" | "stallTimeout" | "lostAfter" | "tls"
>;

/** All of it. */
export interface DaemonConfig {
  /** The file that it is of. */
  readonly path: string;
  readonly stateDirectory: string;
  readonly images: ImagePlaces;
  readonly api: ApiConfig;
  readonly limits: LimitsConfig;
  readonly directories: RequestDirectories;
  readonly log: LogConfig;
  readonly serve: ServeDefaults;
  readonly receive: ReceiveDefaults;
  readonly lazy: LazyDefaults;
}
