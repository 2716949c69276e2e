/** A peer at a unix socket that is no QEMU, or a strange one. */

/** What it does with each line that it gets; what it returns is sent. */
export type Answers = (line: string) => string | undefined;

/** A greeting as QEMU's. */
export const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n';

/** Answers commands as QEMU does: with a value, or refused. */
export function answering(values: Readonly<Record<string, unknown>>): Answers {
  return (line) => {
    const { execute, "exec-oob": outOfBand, id } = JSON.parse(line);
    const command = execute ?? outOfBand;
    if (!(command in values)) {
      const error = { class: "CommandNotFound", desc: `The command ${command} has not been found` };
      return `${JSON.stringify({ error, id })}\r\n`;
    }
    const value = values[command];
    return value === undefined ? undefined : `${JSON.stringify({ return: value, id })}\r\n`;
  };
}

/** Listens, greets each connection, and answers. */
export class QmpPeer implements AsyncDisposable {
  /** Lines that came, of all connections. */
  readonly heard: string[] = [];
  readonly #directory: string;
  readonly #listener: Deno.UnixListener;
  readonly #connections: Deno.UnixConn[] = [];
  readonly #serving: Promise<void>;
  readonly #waiters = new Set<() => void>();

  /**
   * @param greeting what each connection is sent first
   * @param answers what follows
   */
  constructor(greeting: string | Uint8Array<ArrayBuffer>, answers: Answers = () => undefined) {
    this.#directory = Deno.makeTempDirSync({ prefix: "postcopy-peer-" });
    this.#listener = Deno.listen({ transport: "unix", path: this.path });
    this.#serving = this.#serve(greeting, answers);
  }

  /** Path of its socket. */
  get path(): string {
    return `${this.#directory}/qmp`;
  }

  /** The same for a command line. */
  get uri(): string {
    return `unix:${this.path}`;
  }

  /** Connections so far. */
  get connections(): number {
    return this.#connections.length;
  }

  /** Resolves when so many connections have come. */
  async came(count: number): Promise<void> {
    while (this.#connections.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiters.add(resolve);
      await promise;
    }
  }

  /** Ends the connections. */
  hangUp(): void {
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch {
        // Closed before.
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.hangUp();
    await this.#serving;
    await Deno.remove(this.#directory, { recursive: true });
  }

  async #serve(greeting: string | Uint8Array<ArrayBuffer>, answers: Answers): Promise<void> {
    const all: Promise<void>[] = [];
    for await (const connection of this.#listener) {
      this.#connections.push(connection);
      for (const wake of this.#waiters) wake();
      all.push(this.#converse(connection, greeting, answers).catch(() => {}));
    }
    await Promise.all(all);
  }

  async #converse(
    connection: Deno.UnixConn,
    greeting: string | Uint8Array<ArrayBuffer>,
    answers: Answers,
  ): Promise<void> {
    const say = async (what: string | Uint8Array<ArrayBuffer>): Promise<void> => {
      const bytes = typeof what === "string" ? new TextEncoder().encode(what) : what;
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    };
    await say(greeting);
    const buffer = new Uint8Array(65_536);
    let rest = "";
    for (let count; (count = await connection.read(buffer)) !== null;) {
      const lines = (rest + new TextDecoder().decode(buffer.subarray(0, count))).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        this.heard.push(line);
        const answer = answers(line);
        if (answer !== undefined) await say(answer);
      }
    }
  }
}
