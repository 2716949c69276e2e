/** `postcopy daemon` in a process of its own, and how it is asked. */

import type { ApiClient } from "../../daemon/command/api_client.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { within } from "../support/deadline.ts";
import { type ProcessEnd, ScriptProcess } from "../support/processes.ts";
import { DaemonCalls } from "./daemon_calls.ts";

/** What a configuration says beside its places. */
export type ConfigSections = Readonly<Record<string, unknown>>;

/** A place for daemons, one after the other: their state, their socket and their images. */
export class DaemonPlace implements AsyncDisposable {
  /** Where all of it is. */
  readonly directory: string = Deno.makeTempDirSync({ prefix: "postcopy-daemon-" });
  readonly #daemons: DaemonProcess[] = [];

  /** The daemon's socket. */
  get socket(): string {
    return `${this.directory}/daemon.sock`;
  }

  /** Where sessions are kept. */
  get stateDirectory(): string {
    return `${this.directory}/state`;
  }

  /** The configuration's file. */
  get config(): string {
    return `${this.directory}/config.json`;
  }

  /** Names of the files by which sessions are kept. */
  get kept(): string[] {
    return [...Deno.readDirSync(this.stateDirectory)].map(({ name }) => name)
      .filter((name) => name.endsWith(".session.json"));
  }

  /** Writes the configuration: images by name, and what else it says. */
  configure(images: Readonly<Record<string, string>>, sections: ConfigSections = {}): void {
    const text = JSON.stringify({
      stateDirectory: this.stateDirectory,
      images: { files: images },
      log: { format: "json", level: "debug" },
      ...sections,
      api: { socket: this.socket, ...sections["api"] as ConfigSections | undefined },
    });
    Deno.writeTextFileSync(this.config, text);
  }

  /**
   * Starts a daemon, and waits until it answers.
   *
   * @param env variables beside this process's
   */
  async start(env: Readonly<Record<string, string>> = {}): Promise<DaemonProcess> {
    const daemon = new DaemonProcess(this, env);
    this.#daemons.push(daemon);
    await daemon.answers();
    return daemon;
  }

  /** Kills all that run, and removes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await using stack = new AsyncDisposableStack();
    stack.defer(() => Deno.remove(this.directory, { recursive: true }));
    for (const daemon of this.#daemons) stack.use(daemon);
  }
}

/** One daemon. */
export class DaemonProcess extends ScriptProcess {
  readonly #calls: DaemonCalls;

  constructor(place: DaemonPlace, env: Readonly<Record<string, string>>) {
    super("main.ts", ["daemon", "--config", place.config], env);
    this.#calls = new DaemonCalls(place.socket);
  }

  /** What it is asked with. */
  get client(): ApiClient {
    return this.#calls.client;
  }

  /** Waits until it answers. */
  async answers(): Promise<void> {
    await this.#calls.answers(async () => {
      if (this.over) throw new Error(`The daemon ended: ${(await this.ended).errors}`);
    });
  }

  /** See {@linkcode DaemonCalls.migrate}. */
  migrate(...given: Parameters<DaemonCalls["migrate"]>): Promise<SessionView> {
    return this.#calls.migrate(...given);
  }

  /** See {@linkcode DaemonCalls.session}. */
  session(id: string): Promise<SessionView> {
    return this.#calls.session(id);
  }

  /** See {@linkcode DaemonCalls.reaches}. */
  reaches(...given: Parameters<DaemonCalls["reaches"]>): Promise<SessionView> {
    return this.#calls.reaches(...given);
  }

  /** Lines of its log so far, which is JSON. */
  get log(): Record<string, unknown>[] {
    return this.errorLines.filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Ends it by a signal, and waits until it has ended. */
  async end(signal: Deno.Signal = "SIGTERM"): Promise<ProcessEnd> {
    this.kill(signal);
    return await within("the daemon to end", this.ended);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#calls[Symbol.dispose]();
    await super[Symbol.asyncDispose]();
  }
}
