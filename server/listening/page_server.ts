/** Images that clients ask for: a server that listens, where a `Source` connects. */

import { loadCredentials } from "../../channel/tls/credentials.ts";
import { descriptorLimit } from "../../ffi/descriptor_limit.ts";
import { requireCopying } from "../../ffi/gather.ts";
import { Listener } from "../../ffi/listener.ts";
import { checkStallTimeout } from "../../ffi/peer_watch.ts";
import type { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { type PageCall, TICKET_BYTES } from "../../migration/protocol/page_call.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Accepted } from "./accepted.ts";
import type { PageServerEvent, PageSessionStatistics } from "./page_server_event.ts";
import { PageSession } from "./page_session.ts";
import { ServedImage, type ServedImageOptions } from "./served_image.ts";
import { Strangers } from "./strangers.ts";

/** TLS of a server that listens. */
export interface PageServerTlsOptions {
  /**
   * A directory with `ca-cert.pem`, `server-cert.pem` and `server-key.pem`, or with `keys.psk`; or a file of
   * pre-shared keys. Read once.
   */
  readonly credentials: string;
  /** Who may connect: names of which a client's certificate must have one; absent: whoever has a good one. */
  readonly authorized?: readonly string[];
  /** Whether a client must show a certificate of the authority; default true. */
  readonly verifyPeer?: boolean;
}

/** What is served, and how. */
export interface PageServerOptions {
  /** The images; no two of one name. */
  readonly images: readonly ServedImageOptions[];
  /** TLS for every connection; absent: whoever reaches the port can read the memory. */
  readonly tls?: PageServerTlsOptions;
  /** Bytes a second of each client's background stream; requested pages are never limited. Default 0, no limit. */
  readonly maxPostcopyBandwidth?: number;
  /** As of `SourceOptions`. */
  readonly stallTimeout?: number;
  /** Clients served at a time; default 1024, or a 16th of the descriptors that the process may have. */
  readonly maxClients?: number;
  /** Milliseconds in which a client has to say what it wants, and to make its second connection; default 10000. */
  readonly callTimeout?: number;
  /** Threads to use; default those that all sessions of the process share. */
  readonly pool?: ThreadPool;
  /** Told what happens. */
  readonly onEvent?: (event: PageServerEvent) => void;
}

/** A main channel whose preempt channel is to come. */
interface Awaiting {
  readonly arrived: (preempt: Accepted) => void;
}

const CALL_TIMEOUT = 10_000;
const MOST_CLIENTS = 1024;
/** Descriptors that a client may take, of all. */
const DESCRIPTORS_A_CLIENT = 16;
/** Milliseconds after which it is accepted again, when that failed. */
const ACCEPT_AGAIN = 100;

/**
 * Serves images to clients that ask for them by name, any number at once, also of one image. To each it is a
 * source that sends pages on demand, and all others behind (docs/protocol.md section 9).
 *
 * @example
 * ```ts ignore
 * import { openImage, PageServer } from "postcopy/server";
 *
 * using image = await openImage("vm.img");
 * await using server = await PageServer.open({ images: [{ name: "vm", image }] });
 * await server.listen({ transport: "tcp", host: "127.0.0.1", port: 4445 });
 * ```
 */
export class PageServer implements AsyncDisposable {
  readonly #images: ReadonlyMap<string, ServedImage>;
  readonly #options: PageServerOptions;
  readonly #context: TlsContext | undefined;
  readonly #pool: ThreadPool;
  readonly #stallTimeout: number;
  readonly #maxClients: number;
  readonly #closing = new AbortController();
  readonly #strangers = new Strangers();
  readonly #awaiting = new Map<string, Awaiting>();
  readonly #sessions = new Set<PageSession>();
  readonly #arriving = new Set<Promise<void>>();
  #listener: Listener | undefined;
  #accepting: Promise<void> = Promise.resolve();
  #sessionCount = 0;
  #closed: Promise<void> | undefined;

  private constructor(
    images: ReadonlyMap<string, ServedImage>,
    options: PageServerOptions,
    context: TlsContext | undefined,
  ) {
    this.#images = images;
    this.#options = options;
    this.#context = context;
    this.#pool = options.pool ?? ThreadPool.shared;
    this.#stallTimeout = checkStallTimeout(options.stallTimeout);
    this.#maxClients = options.maxClients ??
      Math.max(1, Math.min(MOST_CLIENTS, Math.floor(descriptorLimit() / DESCRIPTORS_A_CLIENT)));
  }

  /**
   * Takes up images; nobody is served before {@linkcode PageServer.listen}.
   *
   * @throws {RangeError} for a name that cannot be, or comes twice, and a time that cannot be
   * @throws {TlsError} for credentials that cannot be used
   * @throws {SyscallError} when pages cannot be copied here to be encrypted
   */
  static async open(options: PageServerOptions): Promise<PageServer> {
    const images = new Map<string, ServedImage>();
    for (const each of options.images) {
      if (images.has(each.name)) throw new RangeError(`Two images of one name: ${each.name}`);
      images.set(each.name, await ServedImage.of(each));
    }
    const { tls, onEvent } = options;
    if (tls !== undefined) requireCopying();
    const warn = (text: string) => onEvent?.({ event: "note", text });
    const context = tls && loadCredentials(tls.credentials, "server", tls, warn);
    try {
      return new PageServer(images, options, context);
    } catch (error) {
      context?.close();
      throw error;
    }
  }

  /** Clients that are served now. */
  get clients(): number {
    return this.#sessions.size;
  }

  /**
   * Listens for clients.
   *
   * @param address where; port 0 lets the kernel choose
   * @returns where it listens
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    if (this.#listener !== undefined) throw new Error("A server listens once: make another");
    this.#listener = await Listener.listen(address, { stallTimeout: this.#stallTimeout });
    this.#accepting = this.#accept(this.#listener);
    return this.#listener.address;
  }

  /** The figures of each client that is served now. */
  statistics(): PageSessionStatistics[] {
    return [...this.#sessions].map((session) => session.statistics());
  }

  /** Resolves when no client is served any more. */
  async idle(): Promise<void> {
    while (this.#sessions.size > 0) await Promise.race(this.#arriving);
  }

  /** Ends all sessions; clients that lack pages try to connect again. Closing again does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort(new Error("Server was closed"));
    await this.#accepting;
    this.#listener?.close();
    this.#strangers.drop();
    await Promise.all([...this.#sessions].map((session) => session.close()));
    await Promise.all(this.#arriving);
    this.#context?.close();
  }

  async #accept(listener: Listener): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        this.#take(await listener.accept({ signal }));
      } catch (error) {
        if (signal.aborted) return;
        // No descriptor is left, mostly, and one of those that are served may end.
        this.#tell({ event: "note", text: `Cannot accept clients now: ${textOf(error)}` });
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_AGAIN));
      }
    }
  }

  #take(socket: Socket): void {
    const accepted = new Accepted(socket);
    this.#strangers.add(accepted);
    const arriving = this.#arrive(accepted).finally(() => this.#arriving.delete(arriving));
    this.#arriving.add(arriving);
  }

  /** Sees a connection to its end, or until it belongs to a session. */
  async #arrive(accepted: Accepted): Promise<void> {
    let paired = false;
    try {
      const timeout = AbortSignal.timeout(this.#options.callTimeout ?? CALL_TIMEOUT);
      const signal = AbortSignal.any([this.#closing.signal, accepted.dropped, timeout]);
      const call = await accepted.hear(this.#context, this.#pool, signal);
      if (call.kind === "preempt") paired = this.#pair(accepted, call.ticket);
      else await this.#serve(accepted, call, signal);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      // Who says what is no call is told nothing of what is here.
      this.#tell({ event: "refused", client: accepted.name, reason: refusalOf(error) });
    } finally {
      this.#strangers.delete(accepted);
      if (!paired) accepted[Symbol.dispose]();
    }
  }

  /** Gives a preempt channel to its main channel; returns whether there is one. */
  #pair(accepted: Accepted, ticket: Uint8Array): boolean {
    const key = ticket.toHex();
    const awaiting = this.#awaiting.get(key);
    this.#awaiting.delete(key);
    if (awaiting === undefined) {
      this.#refuse(accepted, "No main channel waits for this second connection: connect anew");
      return false;
    }
    awaiting.arrived(accepted);
    return true;
  }

  /** Serves who asked for an image, until the session has ended. */
  async #serve(
    main: Accepted,
    call: Exclude<PageCall, { kind: "preempt" }>,
    signal: AbortSignal,
  ): Promise<void> {
    const image = this.#images.get(call.name);
    const refusal = this.#refusal(image, call);
    if (refusal !== undefined) {
      return this.#refuse(main, refusal);
    }
    using preempt = await this.#preemptOf(main, image!, signal);
    this.#strangers.delete(main);
    const { maxPostcopyBandwidth = 0 } = this.#options;
    const session = new PageSession({
      id: ++this.#sessionCount,
      image: image!,
      main,
      preempt,
      recover: call.kind === "go-on",
      order: await image!.order(),
      source: { maxPostcopyBandwidth, stallTimeout: this.#stallTimeout, pool: this.#pool },
      tell: (event) => this.#tell(event),
    });
    this.#sessions.add(session);
    try {
      if (!this.#closing.signal.aborted) await session.run();
    } finally {
      await session.close();
      this.#sessions.delete(session);
    }
  }

  /** Why an image is not served; undefined when it is. */
  #refusal(image: ServedImage | undefined, call: PageCall): string | undefined {
    if (image === undefined) {
      const count = this.#images.size;
      const others = count === 1 ? "1 image is" : `${count} images are`;
      // The name is the client's own; those of the others are not for everybody.
      const name = "name" in call ? call.name : "";
      return `No image of that name: ${name}: ${others} served here, by other names`;
    }
    try {
      image.check();
    } catch (error) {
      return textOf(error);
    }
    if (call.kind === "go-on" && call.identity.toHex() !== image.identity.toHex()) {
      return `Not the image that this client has begun with: ${image.name}: serve the file that it was, ` +
        "with its time";
    }
    if (this.#sessions.size < this.#maxClients) return undefined;
    return `Serves ${this.#sessions.size} clients, as many as it may: try again later`;
  }

  /** Welcomes a main channel, and waits for what belongs to it. */
  async #preemptOf(main: Accepted, image: ServedImage, signal: AbortSignal): Promise<Accepted> {
    const ticket = crypto.getRandomValues(new Uint8Array(TICKET_BYTES));
    const key = ticket.toHex();
    const { promise, resolve, reject } = Promise.withResolvers<Accepted>();
    const onAbort = () => {
      this.#awaiting.delete(key); // one that comes now is nobody's
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort);
    this.#awaiting.set(key, { arrived: resolve });
    try {
      signal.throwIfAborted();
      const { identity } = image;
      main.answer({ kind: "welcome", ticket, identity });
      const preempt = await promise;
      preempt.answer({ kind: "welcome", ticket, identity });
      return preempt;
    } finally {
      this.#awaiting.delete(key);
      signal.removeEventListener("abort", onAbort);
    }
  }

  #refuse(accepted: Accepted, reason: string): void {
    accepted.refuse(reason);
    this.#tell({ event: "refused", client: accepted.name, reason });
  }

  #tell(event: PageServerEvent): void {
    this.#options.onEvent?.(event);
  }
}

function refusalOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return "It did not say what it wants, or made no second connection, in time";
  }
  if (error instanceof ProtocolError) {
    return `Not a client of this server, or TLS where there is none: ${error.message}`;
  }
  return textOf(error);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : `${error}`;
}
