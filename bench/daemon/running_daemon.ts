/** A daemon in a process of its own, for benchmarks. */

import { spawn } from "../support/bench_process.ts";
import { TemporaryDirectory } from "../support/temporary_directory.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** The name by which its image is asked for. */
export const IMAGE_NAME = "bench";

/** `postcopy daemon` with one image, at a unix socket that goes with it. */
export class RunningDaemon implements AsyncDisposable {
  /** Its socket's path. */
  readonly socket: string;
  readonly #directory: TemporaryDirectory;
  readonly #child: Deno.ChildProcess;

  private constructor(directory: TemporaryDirectory, socket: string, child: Deno.ChildProcess) {
    this.#directory = directory;
    this.socket = socket;
    this.#child = child;
  }

  /**
   * Starts one, and waits until it answers.
   *
   * @param image path of the image
   * @throws {Error} when it ends instead
   */
  static async start(image: string): Promise<RunningDaemon> {
    const directory = new TemporaryDirectory();
    const socket = `${directory.path}/daemon.sock`;
    const config = `${directory.path}/config.json`;
    await Deno.writeTextFile(
      config,
      JSON.stringify({
        stateDirectory: `${directory.path}/state`,
        images: { files: { [IMAGE_NAME]: image } },
        api: { socket },
        limits: { sessions: 10_000 },
        log: { level: "warning" },
      }),
    );
    const words = [Deno.execPath(), "run", "-A", "--no-lock", MAIN, "daemon", "--config", config];
    const child = spawn(words, { stdin: "null", stdout: "null", stderr: "inherit" });
    const daemon = new RunningDaemon(directory, socket, child);
    let over = false;
    child.status.then(() => over = true);
    while (!await daemon.#answers()) {
      if (over) throw new Error("The daemon ended early");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return daemon;
  }

  /** The daemon's process number. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Ends it at once: what it serves is of no use to anybody any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    this.#directory.close();
  }

  async #answers(): Promise<boolean> {
    using client = Deno.createHttpClient({ proxy: { transport: "unix", path: this.socket } });
    try {
      const response = await fetch("http://localhost/v1/health", { client });
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    }
  }
}
