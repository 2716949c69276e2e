/** Starts a real CRIU: dumps, restores, and its own server of lazy pages. */

import { type CriuBinary, criuFromEnvironment, lacksPipeRight } from "./criu_binary.ts";

/** All that runs in the namespace ends with the first word. */
const NEW_PIDS = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** To write a log takes the server more than to serve. */
const VERBOSITY: Readonly<Record<string, string>> = { "lazy-pages": "-v1" };

/** A run of CRIU that failed, with the end of its log. */
export class CriuError extends Error {
  override readonly name = "CriuError";
}

/** A run of CRIU. */
export interface CriuRun {
  readonly pid: number;
  /** Resolves when it has ended well. Rejects with a {@linkcode CriuError}. */
  readonly ended: Promise<void>;
  /** Ends it. */
  kill(): void;
}

/** A real CRIU. */
export class Criu implements Disposable {
  readonly #binary: CriuBinary;
  readonly #directory = Deno.makeTempDirSync({ prefix: "postcopy-criu-" });
  #pipeLimit: Promise<string> | undefined;

  /** @param binary default what the environment says */
  constructor(binary: CriuBinary = criuFromEnvironment()) {
    this.#binary = binary;
  }

  /** Dumps a tree into a directory, which ends it. */
  async dump(pid: number, images: string, ...more: string[]): Promise<void> {
    await (await this.start("dump", images, "-t", `${pid}`, ...more)).ended;
  }

  /**
   * Dumps a tree without its lazy pages, for which it answers at a port of this host until they were taken;
   * `ended` says how that went.
   */
  dumpLazily(pid: number, images: string, port: number): Promise<CriuRun> {
    const at = ["--address", "127.0.0.1", "--port", `${port}`];
    return this.start("dump", images, "-t", `${pid}`, "--lazy-pages", ...at);
  }

  /**
   * Restores a tree whose pages another process serves; it ends when the tree's first process has. It does so
   * in a PID namespace of its own, as on another host: the numbers of what was dumped may be taken out here.
   */
  restoreLazily(images: string, ...more: string[]): Promise<CriuRun> {
    return this.start("restore", images, "--lazy-pages", ...more);
  }

  /** Starts any of its commands. */
  async start(command: string, images: string, ...more: string[]): Promise<CriuRun> {
    const { command: words, loaderArguments } = this.#binary;
    const preload = command === "dump" && loaderArguments > 0 && lacksPipeRight()
      ? ["--preload", await (this.#pipeLimit ??= this.#buildPipeLimit())]
      : [];
    const log = `${command}.log`; // in the directory of the images
    const [program, ...args] = [
      ...command === "restore" ? NEW_PIDS : [],
      ...words.slice(0, loaderArguments),
      ...preload,
      ...words.slice(loaderArguments),
    ];
    const child = new Deno.Command(program!, {
      args: [...args, command, "-D", images, VERBOSITY[command] ?? "-v4", "-o", log, ...more],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const ended = child.status.then(({ success, code }) => {
      if (!success) throw new CriuError(`criu ${command}: exit ${code}:\n${tail(images, log)}`);
    });
    ended.catch(() => {}); // whoever wants to know awaits it
    const kill = (): void => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    };
    return { pid: child.pid, ended, kill };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory, { recursive: true });
  }

  async #buildPipeLimit(): Promise<string> {
    const source = decodeURIComponent(new URL("./pipe_limit.c", import.meta.url).pathname);
    const library = `${this.#directory}/pipe_limit.so`;
    const args = ["-O2", "-shared", "-fPIC", "-o", library, source];
    const { success, stderr } = await new Deno.Command("gcc", { args }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return library;
  }
}

function tail(images: string, log: string): string {
  try {
    return Deno.readTextFileSync(`${images}/${log}`).trimEnd().split("\n").slice(-12).join("\n");
  } catch {
    return "It wrote no log";
  }
}
