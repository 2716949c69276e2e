/** A daemon in a process of its own, with its page at a port of the loopback. */

import { type KeptSession, StateStore } from "../../daemon/service/state_store.ts";
import { ScriptProcess } from "../support/processes.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

/** The daemon; killed when disposed of. */
export class PageDaemon implements AsyncDisposable {
  /** What it asks for. */
  readonly token = TOKEN;
  readonly #process: ScriptProcess;
  readonly #directory: string;
  #url = "";

  private constructor(process: ScriptProcess, directory: string) {
    this.#process = process;
    this.#directory = directory;
  }

  /**
   * Starts one.
   *
   * @param images files by name
   * @param sections what else the configuration says
   * @param kept what a daemon before it has left
   */
  static async start(
    images: Readonly<Record<string, string>>,
    sections: Readonly<Record<string, unknown>> = {},
    kept: readonly KeptSession[] = [],
  ): Promise<PageDaemon> {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-daemon-" });
    const tokenFile = `${directory}/token`;
    await Deno.writeTextFile(tokenFile, TOKEN, { mode: 0o600 });
    await Deno.mkdir(`${directory}/images`);
    const config = {
      ...sections,
      stateDirectory: `${directory}/state`,
      images: { directory: `${directory}/images`, files: images },
      api: { socket: "", tcp: { listen: "tcp:127.0.0.1:0", insecure: true, tokenFile } },
    };
    await Deno.writeTextFile(`${directory}/daemon.json`, JSON.stringify(config));
    const store = new StateStore(config.stateDirectory);
    await store.prepare();
    for (const session of kept) await store.keep(session);
    const process = new ScriptProcess("main.ts", [
      "daemon",
      "--config",
      `${directory}/daemon.json`,
    ]);
    await using stack = new AsyncDisposableStack();
    const daemon = stack.use(new PageDaemon(process, directory));
    if (!await process.says("tcp:127.0.0.1:")) throw new Error((await process.ended).errors);
    const line = process.errorLines.find((each) => each.includes("tcp:127.0.0.1:"))!;
    daemon.#url = `http://${/tcp:(127\.0\.0\.1:\d+)/.exec(line)![1]}/`;
    stack.move(); // it began
    return daemon;
  }

  /** Where the page is. */
  get url(): string {
    return this.#url;
  }

  /** What it has said. */
  get said(): string {
    return this.#process.errorLines.join("\n");
  }

  /** Asks it. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    return await fetch(new URL(path, this.#url), {
      ...init,
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#process[Symbol.asyncDispose]();
    } finally {
      await Deno.remove(this.#directory, { recursive: true });
    }
  }
}
