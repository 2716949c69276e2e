/** A program of the tests' own that does what it is told, a line each, and says what came of it. */

import { TextLineStream } from "@std/streams";
import { within } from "../support/deadline.ts";

/** A running program; killed when disposed of. */
export class LineProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: string[] = [];
  readonly #reading: Promise<void>;
  #over = false;
  #wake = Promise.withResolvers<void>();

  /** Starts it. */
  constructor(program: string, args: readonly string[]) {
    const io = { stdin: "piped", stdout: "piped" } as const;
    this.#child = new Deno.Command(program, { args: [...args], ...io }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Its number. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Has it do something; see its source. */
  async order(words: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${words}\n`));
  }

  /** Waits until it says a line that begins so, and takes it out. */
  async says(start: string): Promise<string> {
    return await within(`the program to say ${start}`, this.#find(start));
  }

  /** Whether it has said a line that begins so, which nobody took. */
  hasSaid(start: string): boolean {
    return this.#lines.some((line) => line.startsWith(start));
  }

  /** Ends it at once. */
  async kill(): Promise<Deno.CommandStatus> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    return await this.#child.status;
  }

  /** Its end, by itself. */
  get status(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#writer.close().catch(() => {});
    await this.#reading;
  }

  async #find(start: string): Promise<string> {
    while (true) {
      const index = this.#lines.findIndex((line) => line.startsWith(start));
      if (index >= 0) return this.#lines.splice(index, 1)[0]!;
      if (this.#over) throw new Error(`The program ended before it said: ${start}`);
      await this.#wake.promise;
    }
  }

  async #read(): Promise<void> {
    const lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.#lines.push(line);
      this.#stir();
    }
    this.#over = true;
    this.#stir();
  }

  #stir(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}
