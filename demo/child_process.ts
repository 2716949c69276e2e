/** A process of the demo: its JSON lines, its complaints, and its end. */

/** A process that ended in another way than it should have. */
export class ChildProcessError extends Error {
  override readonly name = "ChildProcessError";
  /** Machine-readable reason. */
  readonly code = "CHILD_FAILED";
}

/** A Deno process that prints JSON objects, one a line. */
export class ChildProcess<T> implements AsyncDisposable {
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #complaints: Promise<string>;
  readonly #lines: Promise<void>;

  /**
   * Starts the process.
   *
   * @param name what to call it in messages
   * @param args arguments of this Deno, for example `["run", "-A", "main.ts"]`
   * @param onLine called with each object that the process prints
   */
  constructor(name: string, args: readonly string[], onLine: (line: T) => void) {
    this.#name = name;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#complaints = new Response(this.#child.stderr).text();
    this.#lines = readLines(this.#child.stdout, (line) => onLine(JSON.parse(line) as T));
    this.#lines.catch(() => {}); // seen by `succeeded`
  }

  /**
   * Waits for the process to end well.
   *
   * @throws {ChildProcessError} when it does not, with what it wrote to its standard error
   */
  async succeeded(): Promise<void> {
    const [{ code, signal }] = await Promise.all([this.#child.status, this.#lines]);
    if (code === 0) return;
    const how = signal === null ? `exit code ${code}` : signal;
    throw new ChildProcessError(
      `The ${this.#name} ended with ${how}\n${await this.#complaints}`.trim(),
    );
  }

  /** Ends the process if it still runs, by its number, and waits until it has gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL"); // it holds nothing that would need more
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
      // It has ended already.
    }
    await Promise.allSettled([this.#child.status, this.#lines, this.#complaints]);
  }
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
}
