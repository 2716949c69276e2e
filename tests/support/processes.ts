/** The two commands as child processes. */

import { TextLineStream } from "@std/streams";
import type { WorkloadEvent } from "../../client/command/workload_report.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import type {
  LiveWorkloadEvent,
  LiveWorkloadResult,
} from "../../server/command/workload_report.ts";
import { within } from "./deadline.ts";

/** Words that run a script of this project with this Deno. */
function denoRun(
  script: string,
  args: readonly string[],
  temporary: string,
  env: Readonly<Record<string, string>>,
): Deno.Command {
  const path = new URL(`../../${script}`, import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--cached-only", path, ...args],
    stdin: "null",
    env: { TMPDIR: temporary, ...env },
    stdout: "piped",
    stderr: "piped",
  });
}

/** How a process ended. */
export interface ProcessEnd {
  /** Temporary files that it left. */
  readonly left: readonly string[];
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly output: string;
  readonly errors: string;
}

/** A script of this project in a process of its own; killed when disposed of. */
export class ScriptProcess implements AsyncDisposable {
  /** Lines of standard output so far. */
  readonly lines: string[] = [];
  /** Lines of standard error so far. */
  readonly errorLines: string[] = [];
  /** How it ended; never rejects. */
  readonly ended: Promise<ProcessEnd>;
  readonly #temporary = Deno.makeTempDirSync({ prefix: "postcopy-process-" });
  readonly #child: Deno.ChildProcess;
  readonly #waiters = new Set<() => void>();
  #over = false;

  /**
   * @param script path in the project
   * @param env variables beside this process's
   */
  constructor(
    script: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#child = denoRun(script, args, this.#temporary, env).spawn();
    this.ended = this.#collect();
  }

  /** The process's number. */
  get pid(): number {
    return this.#child.pid;
  }

  /** True once it has ended. */
  get over(): boolean {
    return this.#over;
  }

  /** Sends a signal; a process that has ended gets none. */
  kill(signal: Deno.Signal = "SIGKILL"): void {
    if (!this.#over) {
      try {
        this.#child.kill(signal);
      } catch {
        // It ended just now.
      }
    }
  }

  /**
   * Waits for a line for which `find` returns something.
   *
   * @returns what `find` returned, or undefined when the process ended without
   */
  async line<T>(what: string, find: (line: string) => T | undefined): Promise<T | undefined> {
    return await within(what, this.#find(this.lines, find));
  }

  /** Waits for a line of standard error that contains a text; false when the process ended without. */
  async says(text: string): Promise<boolean> {
    const find = (line: string) => line.includes(text) ? true : undefined;
    return await within(text, this.#find(this.errorLines, find)) ?? false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.ended;
  }

  async #find<T>(
    lines: readonly string[],
    find: (line: string) => T | undefined,
  ): Promise<T | undefined> {
    let seen = 0;
    return await this.#each(() => {
      while (seen < lines.length) {
        const found = find(lines[seen++]!);
        if (found !== undefined) return found;
      }
      return undefined;
    });
  }

  async #each<T>(look: () => T | undefined): Promise<T | undefined> {
    while (true) {
      const over = this.#over;
      const found = look();
      if (found !== undefined || over) return found;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiters.add(resolve);
      await promise;
      this.#waiters.delete(resolve);
    }
  }

  async #collect(): Promise<ProcessEnd> {
    await Promise.all([
      this.#read(this.#child.stdout, this.lines),
      this.#read(this.#child.stderr, this.errorLines),
    ]);
    const { code, signal } = await this.#child.status;
    const left = [...Deno.readDirSync(this.#temporary)].map(({ name }) => name);
    Deno.removeSync(this.#temporary, { recursive: true });
    const errors = this.errorLines.map((line) => `${line}\n`).join("");
    const end = { left, code, signal, output: this.lines.join("\n"), errors };
    this.#over = true;
    for (const wake of this.#waiters) wake();
    return end;
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>, lines: string[]): Promise<void> {
    const texts = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    for await (const text of texts) {
      lines.push(text);
      for (const wake of this.#waiters) wake();
    }
  }
}

/** `client/main.ts workload` in a process of its own. */
export class WorkloadProcess extends ScriptProcess {
  /** @param args beside `--json` */
  constructor(listen: string, args: readonly string[] = []) {
    super("client/main.ts", ["workload", "--listen", listen, "--json", ...args]);
  }

  /** Where it listens. */
  async address(): Promise<string> {
    const event = await this.event("listening", (event) => event.event === "listening");
    if (event?.event !== "listening") throw new Error((await this.ended).errors);
    return event.address;
  }

  /** Waits for an event; undefined when the process ended without. */
  event(
    what: string,
    holds: (event: WorkloadEvent) => boolean,
  ): Promise<WorkloadEvent | undefined> {
    return this.line(what, (line) => {
      const event = JSON.parse(line) as WorkloadEvent;
      return holds(event) ? event : undefined;
    });
  }

  /** The last event of a kind so far. */
  last<K extends WorkloadEvent["event"]>(
    kind: K,
  ): Extract<WorkloadEvent, { event: K }> | undefined {
    const events = this.lines.map((line) => JSON.parse(line) as WorkloadEvent);
    return events.findLast((event): event is Extract<WorkloadEvent, { event: K }> =>
      event.event === kind
    );
  }
}

/** `server/main.ts serve` in a process of its own. */
export class ServeProcess extends ScriptProcess {
  /** @param args beside `--json` */
  constructor(image: string, to: string, args: readonly string[] = []) {
    super("server/main.ts", ["serve", image, "--to", to, "--json", ...args]);
  }

  /** Waits until it has ended and returns what it printed. */
  async statistics(): Promise<SourceStatistics> {
    const { code, output, errors } = await within("serve to end", this.ended);
    if (code !== 0) throw new Error(`serve ended with ${code}: ${errors}`);
    return JSON.parse(output) as SourceStatistics;
  }
}

/** `server/main.ts workload` in a process of its own. */
export class LiveWorkloadProcess extends ScriptProcess {
  /**
   * @param args beside `--json`
   * @param env variables beside this process's
   */
  constructor(
    to: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ) {
    const small = ["--size", "64M", "--warm-up", "0.1", "--json"];
    super("server/main.ts", ["workload", "--to", to, ...small, ...args], env);
  }

  /** Waits for figures; undefined when the process ended without. */
  progress(
    what: string,
    holds: (statistics: LiveStatistics) => boolean,
  ): Promise<true | undefined> {
    return this.line(what, (line) => {
      const event = JSON.parse(line) as LiveWorkloadEvent;
      return event.event === "progress" && holds(event) ? true : undefined;
    });
  }

  /** The outcome, once the process has ended. */
  get result(): LiveWorkloadResult {
    const result = this.lines.map((line) => JSON.parse(line) as LiveWorkloadEvent)
      .find((event) => event.event === "result");
    if (result === undefined) throw new Error("The workload printed no result");
    return result;
  }
}
