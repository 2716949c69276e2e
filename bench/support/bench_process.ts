/** Deno child processes that speak JSON, a line a message, on their standard streams. */

import { TextLineStream } from "@std/streams";
import { atExit } from "./at_exit.ts";

/** How to start one. */
export interface BenchProcessOptions {
  /** Words before the command: a CPU placement, a network namespace. */
  readonly prefix?: readonly string[];
  /** Arguments after the script. */
  readonly args?: readonly string[];
}

/** Returns the words that run a script of this project with this Deno. */
export function denoCommand(script: URL, args: readonly string[] = []): string[] {
  return [Deno.execPath(), "run", "-A", "--no-lock", script.pathname, ...args];
}

/** Starts a command given as words; it is killed when this process ends before it. */
export function spawn(
  words: readonly string[],
  options: Omit<Deno.CommandOptions, "args">,
): Deno.ChildProcess {
  const child = new Deno.Command(words[0]!, { ...options, args: words.slice(1) }).spawn();
  const forget = atExit(() => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has just ended by itself.
    }
  });
  child.status.finally(forget);
  return child;
}

/** A child that reads a JSON value a line and answers each with one. */
export class BenchProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #encoder = new TextEncoder();
  readonly #name: string;
  #closed = false;

  /**
   * Starts the child; its standard error is this process's.
   *
   * @param script the module to run
   */
  constructor(script: URL, options: BenchProcessOptions = {}) {
    this.#name = script.pathname.slice(script.pathname.lastIndexOf("/") + 1);
    const words = [...options.prefix ?? [], ...denoCommand(script, options.args)];
    this.#child = spawn(words, { stdin: "piped", stdout: "piped", stderr: "inherit" });
    this.#input = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .getReader();
  }

  /** The child's process number. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Waits for the child's next line.
   *
   * @throws {Error} when the child ended instead
   */
  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.read();
    if (done) throw new Error(`Benchmark process ended early: ${this.#name}`);
    return JSON.parse(value) as T;
  }

  /**
   * Sends a message and waits for the answer.
   *
   * @throws {Error} when the child ended instead
   */
  async ask<T>(message: unknown): Promise<T> {
    await this.#input.write(this.#encoder.encode(JSON.stringify(message) + "\n"));
    return await this.next<T>();
  }

  /** Ends the child by the end of its input and waits for it; kills it if it stays. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), 2000);
    try {
      await this.#input.close().catch(() => {}); // it may have ended before
      await this.#lines.cancel();
      await this.#child.status;
    } finally {
      clearTimeout(kill);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * The child's side: answers each line of standard input with what `handle` returns.
 *
 * @param handle called with one message at a time
 */
export async function answerLines(handle: (message: unknown) => Promise<unknown>): Promise<void> {
  const lines = Deno.stdin.readable
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) say(await handle(JSON.parse(line)));
}

/** The child's side: writes a message. */
export function say(message: unknown): void {
  const bytes = new TextEncoder().encode(JSON.stringify(message) + "\n");
  let written = 0;
  while (written < bytes.length) written += Deno.stdout.writeSync(bytes.subarray(written));
}
