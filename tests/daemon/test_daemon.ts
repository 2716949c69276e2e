/** A daemon in this process, asked through its real sockets; its files are in a directory that goes with it. */

import { ApiServer } from "../../daemon/api/listen.ts";
import type { Problem } from "../../daemon/api/problems.ts";
import { parseConfig } from "../../daemon/config/read_config.ts";
import { Service } from "../../daemon/service/service.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { within } from "../support/deadline.ts";

/** An answer. */
export interface Answer<T = unknown> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

/** How a request differs from a plain one. */
export interface AskOptions {
  readonly headers?: Record<string, string>;
  /** Text that is sent as it is, in place of JSON. */
  readonly raw?: BodyInit;
}

/** A daemon and a client at its unix socket. */
export class TestDaemon implements AsyncDisposable {
  /** What requests may name. */
  readonly directory: string;
  readonly service: Service;
  readonly api: ApiServer;
  /** Mistakes of the program that it told of. */
  readonly mistakes: unknown[];
  readonly #client: Deno.HttpClient;

  private constructor(
    directory: string,
    service: Service,
    api: ApiServer,
    mistakes: unknown[],
  ) {
    this.directory = directory;
    this.service = service;
    this.api = api;
    this.mistakes = mistakes;
    this.#client = unixClient(`${directory}/daemon.sock`);
  }

  /**
   * Starts one.
   *
   * @param more of its configuration, in TOML: what stands before its first table is of the whole file
   * @param directory of a daemon before it; default a new one
   */
  static async start(more = "", directory?: string): Promise<TestDaemon> {
    await using stack = new AsyncDisposableStack();
    const place = directory ?? makeDirectory();
    if (directory === undefined) {
      stack.defer(() => Deno.remove(place, { recursive: true }));
    }
    const mistakes: unknown[] = [];
    const config = parseConfig(`${place}/daemon.toml`, configText(place, more));
    const service = await Service.open(config);
    stack.defer(() => service.close());
    const api = await ApiServer.open(service, (error) => mistakes.push(error));
    stack.move(); // it began, and its files go with it
    return new TestDaemon(place, service, api, mistakes);
  }

  /** Where images are. */
  get images(): string {
    return `${this.directory}/images`;
  }

  /** Puts an image into the directory of images, with what lies beside it, under another name. */
  async addImage(path: string, name: string): Promise<void> {
    const target = `${this.images}/${name}`;
    await Deno.copyFile(path, target);
    const description = await Deno.readTextFile(`${path}.json`).catch(() => undefined);
    if (description === undefined) return;
    await Deno.copyFile(`${path}.devices`, `${target}.devices`);
    const described = { ...JSON.parse(description), devices: `${name}.devices` };
    await Deno.writeTextFile(`${target}.json`, JSON.stringify(described));
  }

  /** Asks, and reads the answer. */
  async ask<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    { headers = {}, raw }: AskOptions = {},
  ): Promise<Answer<T>> {
    const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await within(
      `${method} ${path}`,
      fetch(`http://localhost${path}`, {
        client: this.#client,
        method,
        headers: {
          ...sent === undefined ? {} : { "content-type": "application/json" },
          ...headers,
        },
        ...sent === undefined ? {} : { body: sent },
      }),
    );
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    const { status } = response;
    return { status, headers: response.headers, body: (isJson ? JSON.parse(text) : text) as T };
  }

  /** Asks for what must succeed. */
  async done<T = SessionView>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.ask<T>(method, path, body);
    if (answer.status < 300) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status}: ${JSON.stringify(answer.body)}`);
  }

  /** Asks for what must be refused. */
  async refused(
    method: string,
    path: string,
    body?: unknown,
    options?: AskOptions,
  ): Promise<Problem> {
    const answer = await this.ask<Problem>(method, path, body, options);
    if (answer.status >= 400 && typeof answer.body === "object") return answer.body;
    throw new Error(`Not refused: ${method} ${path}: ${JSON.stringify(answer.body)}`);
  }

  /** Waits until a session stands somewhere, or has ended. */
  async waits(id: string, until = "ended"): Promise<SessionView> {
    return await this.done("GET", `/v1/migrations/${id}/wait?for=${until}&timeout=60`);
  }

  /** A stream of events; it ends with the signal. */
  async events(
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const response = await fetch("http://localhost/v1/events", {
      client: this.#client,
      headers,
      signal,
    });
    if (response.status !== 200) throw new Error(`No events: ${response.status}`);
    return response.body!;
  }

  /** Ends it without removing its files. */
  async stop(): Promise<void> {
    await this.service.close();
    await this.api.close();
    this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      await Deno.remove(this.directory, { recursive: true });
    }
  }
}

/** A client of a unix socket. */
export function unixClient(path: string): Deno.HttpClient {
  return Deno.createHttpClient({ proxy: { transport: "unix", path } });
}

/** Directories that were made. */
const made = new Set<string>();

// Whatever a test came to before its daemon had its directory to remove.
globalThis.addEventListener("unload", () => {
  for (const directory of made) {
    try {
      Deno.removeSync(directory, { recursive: true });
    } catch {
      // It is gone, as it should be.
    }
  }
});

/** Makes the directories of a daemon. */
export function makeDirectory(): string {
  const directory = Deno.makeTempDirSync({ prefix: "postcopy-daemon-" });
  made.add(directory);
  for (const name of ["images", "state", "sockets", "tls", "criu"]) {
    Deno.mkdirSync(`${directory}/${name}`);
  }
  return directory;
}

/**
 * Runs a test with a directory that has a configuration, and removes it.
 *
 * @param more of the configuration, in TOML
 */
export async function withConfig(
  test: (directory: string, config: string) => Promise<void>,
  more = "",
): Promise<void> {
  const directory = makeDirectory();
  try {
    const config = `${directory}/daemon.toml`;
    await Deno.writeTextFile(config, configText(directory, more));
    await test(directory, config);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** A configuration with all of its files in a directory. */
export function configText(directory: string, more = ""): string {
  return [
    `stateDirectory = "${directory}/state"`,
    `images.directory = "${directory}/images"`,
    `api.socket = "${directory}/daemon.sock"`,
    `directories = { sockets = "${directory}/sockets", credentials = "${directory}/tls", criu = "${directory}/criu" }`,
    more,
  ].join("\n");
}
