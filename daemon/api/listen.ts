/** Where the interface is: a unix socket, and TCP where it is wanted. */

import { formatSocketAddress } from "../../ffi/socket_address.ts";
import type { ApiConfig, TcpConfig } from "../config/config.ts";
import type { Service } from "../service/service.ts";
import { type Door, readToken, type TcpRules } from "./access.ts";
import { DaemonError } from "../service/daemon_error.ts";
import { createApp } from "./app.ts";
import { readCertificate } from "./certificate.ts";
import { bindUnix } from "./unix_socket.ts";

/** Milliseconds for requests under way when it closes: some never end. */
const GRACE = 1000;

/** The interface, as long as it is open. */
export class ApiServer implements AsyncDisposable {
  readonly #service: Service;
  readonly #servers: Deno.HttpServer[] = [];
  readonly #stack = new DisposableStack();
  readonly #ending = new AbortController();
  readonly #cutting = new AbortController();
  /** Answers that are on their way. */
  readonly #answers = new Set<Promise<void>>();
  readonly #onMistake: (error: unknown) => void;
  #rules: TcpRules | undefined;
  #closed: Promise<void> | undefined;
  /** Where it listens: `unix:PATH`, `tcp:HOST:PORT`. */
  readonly addresses: string[] = [];

  private constructor(service: Service, onMistake: (error: unknown) => void) {
    this.#service = service;
    this.#onMistake = onMistake;
  }

  /**
   * Listens where the configuration says.
   *
   * @param service what is asked
   * @param onMistake told of mistakes of this program
   * @throws {Error} when another daemon listens there, or a file cannot be used
   */
  static async open(service: Service, onMistake: (error: unknown) => void): Promise<ApiServer> {
    const server = new ApiServer(service, onMistake);
    try {
      await server.#listen(service.config.api);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Reads the token again, and the names by which the daemon may be called. */
  async reload({ tcp }: ApiConfig): Promise<void> {
    if (tcp !== undefined && this.#rules !== undefined) this.#rules = await rulesOf(tcp);
  }

  /** Closes it: streams and waits end. Closing again does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #listen({ socket, group, tcp }: ApiConfig): Promise<void> {
    const app = createApp({
      service: this.#service,
      ending: this.#ending.signal,
      tcp: () => this.#rules,
      onMistake: this.#onMistake,
    });
    const answering = (door: Door): Deno.ServeHandler<Deno.Addr> => (request, { completed }) => {
      const answered = completed.catch(() => {}).finally(() => this.#answers.delete(answered));
      this.#answers.add(answered);
      return app.fetch(request, { door });
    };
    const onError = (error: unknown): Response => {
      this.#onMistake(error);
      return new Response(null, { status: 500 });
    };
    if (tcp !== undefined) {
      this.#rules = await rulesOf(tcp);
      const { listen: { host: hostname, port }, tls } = tcp;
      const pem = tls === undefined ? {} : await readCertificate(tls);
      const server = serveAt(
        { hostname, port, ...pem, signal: this.#cutting.signal, onListen: () => {}, onError },
        answering("tcp"),
      );
      this.#servers.push(server);
      const { hostname: host, port: bound } = server.addr as Deno.NetAddr;
      this.addresses.push(formatSocketAddress({ transport: "tcp", host, port: bound }));
    }
    if (socket !== undefined) {
      const { server, remove } = await bindUnix(
        { path: socket, group, signal: this.#cutting.signal, onError },
        answering("unix"),
      );
      this.#servers.push(server);
      this.#stack.defer(remove);
      this.addresses.push(`unix:${socket}`);
    }
  }

  async #close(): Promise<void> {
    this.#ending.abort();
    this.#stack.dispose();
    // Not by the server's own shutdown: behind that nothing cuts off a client that never ends its request.
    const { promise: patience, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GRACE);
    await Promise.race([Promise.allSettled(this.#answers), patience]);
    clearTimeout(timer);
    this.#cutting.abort();
    await Promise.all(this.#servers.map((server) => server.finished));
  }
}

/**
 * Listens.
 *
 * @throws {DaemonError} naming the address, or the certificate
 */
function serveAt(
  options: Deno.ServeTcpOptions | (Deno.ServeTcpOptions & Deno.TlsCertifiedKeyPem),
  handler: Deno.ServeHandler<Deno.NetAddr>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve(options, handler);
  } catch (error) {
    const { hostname, port } = options;
    const remedy = error instanceof Deno.errors.AddrInUse
      ? "end what listens there, or give api.tcp.listen another"
      : "see api.tcp: the address must be one of this host, cert and key PEM files that belong together";
    throw new DaemonError(
      `Cannot listen at tcp:${hostname}:${port}: ${(error as Error).message}: ${remedy}`,
    );
  }
}

async function rulesOf({ tokenFile, hosts }: TcpConfig): Promise<TcpRules> {
  return {
    token: await readToken(tokenFile),
    hosts: hosts.map((host) => host.toLowerCase()),
  };
}
