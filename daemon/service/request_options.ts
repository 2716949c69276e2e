/** What requests mean with the defaults of the configuration: the options of the module. */

import type { ServerTlsOptions } from "../../client/connecting/access.ts";
import type { LazyTreeOptions } from "../../client/lazy/criu/lazy_tree.ts";
import type { LazyOptions } from "../../client/lazy/lazy.ts";
import type { ImageReceiverOptions } from "../../client/receive/image_receiver_options.ts";
import { parseSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import type { OrderArguments } from "../../server/command/order_arguments.ts";
import type { SourceOptions } from "../../server/source_options.ts";
import type { DaemonConfig } from "../config/config.ts";
import { defined } from "../schema/defined.ts";
import { placeWithin } from "./contained.ts";
import type { ImageCatalog } from "./image_catalog.ts";
import type {
  CriuRequest,
  FirecrackerRequest,
  IncomingRequest,
  OutgoingRequest,
} from "./requests.ts";
import { ServiceError } from "./service_error.ts";

/** Puts requests and configuration together. */
export class RequestOptions {
  readonly #config: DaemonConfig;

  /** @param config the defaults, and where files may be */
  constructor(config: DaemonConfig) {
    this.#config = config;
  }

  /**
   * The options of a source.
   *
   * @throws {ServiceError} for what goes against itself, or a name that may not be
   */
  async source(request: OutgoingRequest): Promise<SourceOptions> {
    const {
      recover,
      startAnew,
      to,
      tls,
      compress,
      multifd,
      order,
      warm: _warm,
      holdBack,
      postcopyAfter,
      ...said
    } = request;
    if (recover && startAnew) {
      throw new ServiceError(
        "BAD_REQUEST",
        "Both recover and startAnew given: recover goes on with the guest; leave the other out",
      );
    }
    if (order === "off" && holdBack !== undefined) {
      throw new ServiceError("BAD_REQUEST", "Both order off and holdBack given: leave out one");
    }
    const {
      direction: _direction,
      image: _image,
      offset: _offset,
      hugePages: _hugePages,
      ...options
    } = said;
    const { source } = this.#config.serve;
    // What is asked for takes the place of the default that it cannot be with.
    const { compress: _compress, multifd: _multifd, postcopyAfter: _after, ...others } = source;
    const base = compress !== undefined || multifd !== undefined ? others : source;
    return {
      ...base,
      ...defined(options),
      to: parseSocketAddress(to),
      recover: recover ?? false,
      ...postcopyAfter === undefined
        ? {}
        : { postcopyAfter: postcopyAfter === "signal" ? Infinity : postcopyAfter },
      ...compress === undefined ? {} : { compress: defined(compress) },
      ...multifd === undefined ? {} : { multifd: defined(multifd) },
      ...await this.#clientTls(tls),
    };
  }

  /** Which order a source goes by. */
  order({ order, warm, holdBack }: OutgoingRequest): OrderArguments {
    const defaults = this.#config.serve.order;
    return {
      order: order ?? defaults.order,
      options: { ...defaults.options, ...defined({ warm, holdBack }) },
    };
  }

  /** The options of a receiver, and where it listens. */
  async receiver(
    request: IncomingRequest,
    images: ImageCatalog,
  ): Promise<{ readonly listen: SocketAddress; readonly options: ImageReceiverOptions }> {
    const { direction: _direction, image, listen, recover, tls, ...said } = request;
    const { tls: defaultTls, ...defaults } = this.#config.receive;
    const credentials = tls === undefined ? undefined : await this.#credentials(tls.credentials);
    const used: ServerTlsOptions | undefined = tls === undefined
      ? defaultTls
      : { ...defined(tls), credentials: credentials! };
    return {
      listen: await this.#listening(listen),
      options: {
        ...defaults,
        ...defined(said),
        path: await images.toWrite(image),
        ...recover === undefined ? {} : { recover: await images.partial(recover) },
        ...used === undefined ? {} : { tls: used },
      },
    };
  }

  /** Where memory is handed over, and the options of who serves it. */
  async lazy(
    request: FirecrackerRequest,
    images: ImageCatalog,
  ): Promise<{ readonly socket: string; readonly options: LazyOptions }> {
    const { kind: _kind, socket, image, from, tls, holder, ...said } = request;
    if ((image === undefined) === (from === undefined)) {
      throw new ServiceError(
        "BAD_REQUEST",
        "Pages come from an image or from a page server: give image or from, and not both",
      );
    }
    const { tls: _tls, stallTimeout: _stall, lostAfter: _lost, ...ofFiles } = this.#config.lazy;
    const { format: _format, record: _record, ...ofServers } = this.#config.lazy;
    return {
      socket: await this.#socket(socket),
      options: {
        ...from === undefined ? ofFiles : ofServers,
        ...defined(said),
        ...from === undefined ? { image: await images.find(image!) } : { from },
        ...await this.#clientTls(tls),
        ...holder === undefined ? {} : { holder: await this.#socket(holder) },
      },
    };
  }

  /** The options of who serves a tree of CRIU's. */
  async tree(request: CriuRequest): Promise<LazyTreeOptions> {
    const { kind: _kind, images, workDirectory, pageServer, holder, ...said } = request;
    const { onLoss, fill } = this.#config.lazy;
    return {
      fill,
      onLoss: onLoss === "kill" ? undefined : onLoss,
      ...defined(said),
      images: await this.#criu(images),
      ...workDirectory === undefined ? {} : { workDirectory: await this.#criu(workDirectory) },
      ...pageServer === undefined ? {} : { pageServer: parseSocketAddress(pageServer) },
      ...holder === undefined ? {} : { holder: await this.#socket(holder) },
    };
  }

  /** Where something listens: a socket's file may be in one directory alone. */
  async #listening(text: string): Promise<SocketAddress> {
    const address = parseSocketAddress(text);
    if (address.transport === "tcp") return address;
    return { transport: "unix", path: await this.#socket(address.path) };
  }

  /** {@linkcode RequestOptions.receiver} for where one that is paused listens too. */
  listening(text: string): Promise<SocketAddress> {
    return this.#listening(text);
  }

  #socket(path: string): Promise<string> {
    return placeWithin(this.#config.directories.sockets, path, "socket", "directories.sockets");
  }

  #criu(path: string): Promise<string> {
    return placeWithin(this.#config.directories.criu, path, "CRIU image", "directories.criu");
  }

  #credentials(path: string): Promise<string> {
    const { credentials } = this.#config.directories;
    return placeWithin(credentials, path, "TLS credential", "directories.credentials");
  }

  async #clientTls(
    tls: OutgoingRequest["tls"],
  ): Promise<Pick<SourceOptions, "tls">> {
    if (tls === undefined) return {};
    return { tls: { ...defined(tls), credentials: await this.#credentials(tls.credentials) } };
  }
}
