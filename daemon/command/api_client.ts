/** The daemon's interface, from a program that asks it. */

import { ApiError, noDaemon, type Problem } from "./api_error.ts";
import { type DaemonAddress, originOf } from "./daemon_address.ts";
import { type ServerEvent, serverEvents } from "./event_stream.ts";

/** Whom to ask. */
export interface ApiClientOptions {
  readonly address: DaemonAddress;
  /** What a daemon that listens on TCP wants to hear. */
  readonly token?: string;
  /** Authorities, in PEM, beside those that this host trusts. */
  readonly authorities?: readonly string[];
}

/** How to ask. */
export interface Asking {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A daemon, over its unix socket or over TCP. */
export class ApiClient implements Disposable {
  readonly #address: DaemonAddress;
  readonly #origin: string;
  readonly #client: Deno.HttpClient;
  readonly #headers: Readonly<Record<string, string>>;
  #open = true;

  constructor({ address, token, authorities }: ApiClientOptions) {
    this.#address = address;
    this.#origin = originOf(address);
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    this.#client = Deno.createHttpClient({
      ...address.transport === "unix"
        ? { proxy: { transport: "unix" as const, path: address.path } }
        : {},
      ...authorities === undefined ? {} : { caCerts: [...authorities] },
    });
  }

  /**
   * Asks.
   *
   * @param path behind `/v1`, as `"/migrations"`
   * @throws {ApiError} when the daemon refuses
   * @throws {NoDaemonError} when none answers
   */
  async ask<T>(path: string, asking: Asking = {}): Promise<T> {
    const response = await this.#send(path, asking);
    const text = await this.#rest(() => response.text(), asking);
    try {
      return (text === "" ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      throw noDaemon(
        this.#address,
        new Error(`no JSON comes from there: ${text.slice(0, 80)}`, {
          cause: error,
        }),
      );
    }
  }

  /**
   * The daemon's events, from now on or from behind one that was seen.
   *
   * @param last the id of the last one that was seen
   * @throws as {@linkcode ApiClient.ask}, also when the connection breaks
   */
  async *events(signal: AbortSignal, last?: string): AsyncGenerator<ServerEvent> {
    const response = await this.#send("/events", {
      signal,
      headers: {
        accept: "text/event-stream",
        ...last === undefined ? {} : { "last-event-id": last },
      },
    });
    try {
      yield* serverEvents(response.body!);
    } catch (error) {
      if (!signal.aborted) throw noDaemon(this.#address, error);
    }
  }

  /** Closes its connections. Closing again does nothing. */
  close(): void {
    if (this.#open) this.#client.close();
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #send(path: string, { method = "GET", body, headers, signal }: Asking): Promise<Response> {
    const response = await this.#rest(() =>
      fetch(`${this.#origin}/v1${path}`, {
        client: this.#client,
        method,
        redirect: "error",
        ...signal === undefined ? {} : { signal },
        headers: {
          accept: "application/json",
          ...this.#headers,
          ...body === undefined ? {} : { "content-type": "application/json" },
          ...headers,
        },
        ...body === undefined ? {} : { body: JSON.stringify(body) },
      }), { ...signal === undefined ? {} : { signal } });
    if (response.ok) return response;
    throw await problemOf(response);
  }

  async #rest<T>(act: () => Promise<T>, { signal }: Pick<Asking, "signal">): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw noDaemon(this.#address, error);
    }
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  const { status, statusText } = response;
  const text = await response.text().catch(() => "");
  let problem: Partial<Problem> = {};
  try {
    problem = JSON.parse(text) as Partial<Problem>;
  } catch {
    // Whoever is between says it in his own words, if he does.
  }
  const title = problem.title ?? (statusText === "" ? `Daemon answered ${status}` : statusText);
  if (status === 401 && problem.remedy === undefined) {
    return new ApiError({
      title,
      ...problem,
      status,
      remedy:
        "give --token-file FILE (or POSTCOPY_TOKEN_FILE) with the token that the daemon was given",
    });
  }
  return new ApiError({ title, ...problem, status });
}
