/** A command of ours with `--json`, as a child process that tells what happens, an event a line. */

import { TextLineStream } from "@std/streams";
import { denoCommand, spawn } from "../support/bench_process.ts";
import { cpuSeconds } from "../support/cpu_time.ts";

/** A running command. */
export class JsonCommand<Event extends { readonly event: string }> implements AsyncDisposable {
  /** All events so far. */
  readonly events: Event[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #words: string;
  readonly #messages: Promise<string>;
  readonly #reading: Promise<void>;
  #changed = Promise.withResolvers<void>();
  #over = false;
  #cpu = 0;

  /**
   * Starts the command.
   *
   * @param script one of the main modules
   * @param args the command and its options, without `--json`
   * @param prefix words before it: a network namespace, a CPU placement
   */
  constructor(script: URL, args: readonly string[], prefix: readonly string[]) {
    this.#words = args.join(" ");
    const words = [...prefix, ...denoCommand(script, [...args, "--json"])];
    this.#child = spawn(words, { stdin: "null", stdout: "piped", stderr: "piped" });
    this.#messages = new Response(this.#child.stderr).text();
    this.#reading = this.#read();
  }

  /** CPU seconds that it took until now; once it has ended, until its last event. */
  async cpu(): Promise<number> {
    try {
      this.#cpu = await cpuSeconds(this.#child.pid);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return this.#cpu;
  }

  /**
   * Waits for the first event of a name.
   *
   * @throws {Error} when the command ends without it, with what it said
   */
  async waitFor<Name extends Event["event"]>(
    name: Name,
  ): Promise<Extract<Event, { readonly event: Name }>> {
    while (true) {
      const found = this.events.find(({ event }) => event === name);
      if (found !== undefined) return found as Extract<Event, { readonly event: Name }>;
      if (this.#over) {
        const { code } = await this.#child.status;
        throw new Error(`${this.#words} ended with ${code}: ${(await this.#messages).trim()}`);
      }
      await this.#changed.promise;
    }
  }

  /**
   * Waits for its end.
   *
   * @throws {Error} when it ends with another code than this, with what it said
   */
  async ended(expected = 0): Promise<void> {
    const { code } = await this.#child.status;
    await this.#reading;
    if (code === expected) return;
    throw new Error(`${this.#words} ended with ${code}: ${(await this.#messages).trim()}`);
  }

  /** Interrupts it as Ctrl-C does. */
  interrupt(): void {
    this.#child.kill("SIGINT");
  }

  async #read(): Promise<void> {
    const lines = this.#child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      await this.cpu();
      this.events.push(JSON.parse(line) as Event);
      this.#tell();
    }
    this.#over = true;
    this.#tell();
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Kills it if it still runs, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child.status;
    await this.#reading;
    await this.#messages;
  }
}
