/** The process of the tests (task.c) that CRIU dumps and restores. */

import { Criu, type CriuRun } from "../../../criu/criu.ts";
import { whyNoCriu } from "../../../criu/criu_binary.ts";
import { programOf } from "../../support/c_program.ts";
import { until, within } from "../../support/deadline.ts";
import { firstOf, needsCommand, type SkipReason, skipReason } from "../../support/skip.ts";

const absence = await whyNoCriu();

/** What tests with a real CRIU need. */
export const needsCriu: SkipReason | undefined = firstOf(
  needsCommand("gcc", "gcc"),
  absence && skipReason(absence.kind, absence.text),
);

/** What it does; see task.c. */
export type TaskMode = "memory" | "tree" | "churn";

/** A process in a directory of its own, with a CRIU. All of it ends and goes when this is disposed of. */
export class CriuTask implements AsyncDisposable {
  readonly criu = new Criu();
  /** What is shared with the process. */
  readonly directory: string;
  /** For images. */
  readonly images: string;
  readonly pid: number;
  readonly #ended: Promise<Deno.CommandStatus>;
  readonly #runs: CriuRun[] = [];

  private constructor(directory: string, pid: number, ended: Promise<Deno.CommandStatus>) {
    this.directory = directory;
    this.images = `${directory}/images`;
    this.pid = pid;
    this.#ended = ended;
    Deno.mkdirSync(this.images);
  }

  /** Starts it, and waits until it is ready to be dumped. */
  static async start(mode: TaskMode): Promise<CriuTask> {
    const program = await programOf(import.meta.resolve("./task.c"));
    const directory = Deno.makeTempDirSync({ prefix: "postcopy-criu-task-" });
    const io = { stdin: "null", stdout: "null", stderr: "null" } as const;
    const child = new Deno.Command(program, { args: [mode, directory], ...io }).spawn();
    const task = new CriuTask(directory, child.pid, child.status);
    const names = mode === "tree" ? [1, 2, 3, 4, 5, 6, 7].map((at) => `ready-${at}`) : ["ready"];
    await until("the process is ready", () => names.every((name) => task.has(name)));
    return task;
  }

  /** Whether a file of the process is there. */
  has(name: string): boolean {
    try {
      Deno.statSync(`${this.directory}/${name}`);
      return true;
    } catch {
      return false;
    }
  }

  /** Dumps it, which ends it. */
  async dump(...more: string[]): Promise<void> {
    await this.criu.dump(this.pid, this.images, ...more);
    await this.#ended;
  }

  /** Dumps it without its lazy pages; resolves when they are answered for at the port. */
  async dumpLazily(port: number): Promise<CriuRun> {
    const run = await this.criu.dumpLazily(this.pid, this.images, port);
    this.#runs.push(run);
    const log = `${this.images}/dump.log`;
    const said = "Starting page server on port";
    const listens = until(
      "the page server listens",
      () => exists(log) && Deno.readTextFileSync(log).includes(said),
    );
    await Promise.race([listens, run.ended]);
    await listens;
    return run;
  }

  /** Its end, by a dump or by itself. */
  get ended(): Promise<Deno.CommandStatus> {
    return this.#ended;
  }

  /** Has it go on behind what it waits for. */
  go(): void {
    Deno.writeTextFileSync(`${this.directory}/go`, "");
  }

  /** Restores it; `ended` of the run says when it has ended itself. */
  async restore(...more: string[]): Promise<CriuRun> {
    const run = await this.criu.restoreLazily(this.images, ...more);
    this.#runs.push(run);
    return run;
  }

  /** What it found, once it has said so. */
  async result(): Promise<string> {
    await until("the process says what it found", () => this.has("result"));
    return Deno.readTextFileSync(`${this.directory}/result`).trim();
  }

  /** How its children ended that did not end well: for the message of a test that fails. */
  why(): string {
    return this.has("why") ? Deno.readTextFileSync(`${this.directory}/why`) : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // It leads a session, which all of its children are in, dumped or restored.
    await new Deno.Command("kill", { args: ["-9", "--", `-${this.pid}`], stderr: "null" }).output();
    for (const run of this.#runs) {
      run.kill();
      await within("CRIU's end", run.ended.catch(() => {}));
    }
    await this.#ended;
    this.criu[Symbol.dispose]();
    Deno.removeSync(this.directory, { recursive: true });
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
