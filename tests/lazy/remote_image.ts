/** A page server and a client's server in this process, for tests. */

import type { Lazy, LazyEvent, LazyOptions } from "../../client/lazy/lazy.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { openMemoryFile } from "../../image/raw/memory_file.ts";
import { PageServer, type PageServerOptions } from "../../server/listening/page_server.ts";
import type { PageServerEvent } from "../../server/listening/page_server_event.ts";
import type { ServedImageOptions, SessionOrder } from "../../server/listening/served_image.ts";
import { until } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { serving } from "./serving.ts";
import type { MemoryFile } from "./vmm.ts";

/** How to serve. */
export interface ServeOptions extends Partial<PageServerOptions> {
  readonly order?: () => Promise<SessionOrder>;
}

/** For a server that sends nothing that is not asked for. */
export const ONLY_ASKED = (): Promise<SessionOrder> =>
  Promise.resolve({
    options: { holdBack: 3_600_000 },
    keep: () => Promise.resolve([]),
  });

/** A server of one memory file under the name `vm`, at one address however often it is started. */
export class Served implements AsyncDisposable {
  readonly events: PageServerEvent[] = [];
  readonly #file: MemoryFile;
  #server: PageServer | undefined;
  #close: () => void = () => {};
  #address: SocketAddress = LOOPBACK;

  /** @param file what is served */
  constructor(file: MemoryFile) {
    this.#file = file;
  }

  get server(): PageServer {
    return this.#server!;
  }

  get address(): SocketAddress {
    return this.#address;
  }

  /** Starts it. */
  async start({ order, ...options }: ServeOptions = {}): Promise<void> {
    const image = await openMemoryFile(this.#file.path, true);
    this.#close = () => image.close();
    const served: ServedImageOptions = {
      name: "vm",
      image,
      ...order === undefined ? {} : { order },
    };
    this.#server = await PageServer.open({
      images: [served],
      onEvent: (event) => this.events.push(event),
      ...options,
    });
    this.#address = await this.#server.listen(this.#address);
  }

  /** Ends it, as if it had been killed: clients are told nothing. */
  async stop(): Promise<void> {
    await this.#server?.close();
    this.#close();
    this.#close = () => {};
  }

  /** Ends it, and starts another. */
  async restart(options: ServeOptions = {}): Promise<void> {
    await this.stop();
    await this.start(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Serves a memory file. */
export async function serve(file: MemoryFile, options: ServeOptions = {}): Promise<Served> {
  const served = new Served(file);
  await served.start(options);
  return served;
}

/** The end of a server's only session. */
export async function endOf(
  { events }: Served,
): Promise<Extract<PageServerEvent, { event: "ended" }>> {
  const find = () => events.find((each) => each.event === "ended");
  await until("the session's end", () => find() !== undefined);
  return find()!;
}

/** A client's server at the file's socket, and what it told. */
export function lazyFrom(
  file: MemoryFile,
  address: SocketAddress,
  options: Partial<LazyOptions> = {},
): Promise<{ readonly lazy: Lazy; readonly events: LazyEvent[] }> {
  return serving(file, { from: `${formatSocketAddress(address)}/vm`, ...options });
}
