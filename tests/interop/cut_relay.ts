/** A relay between a source and a destination that holds the main channel back at a chosen byte. */

/** Forwards connections to a destination; the first one, the main channel, only up to a limit. */
export class CutRelay implements AsyncDisposable {
  /** Where it listens, for the command line. */
  readonly uri: string;
  readonly #listener: Deno.TcpListener;
  readonly #port: number;
  readonly #limit: number;
  readonly #connections: Deno.TcpConn[] = [];
  readonly #reached = Promise.withResolvers<void>();
  readonly #serving: Promise<void>;

  /**
   * Listens at a port of the loopback.
   *
   * @param port where the destination listens
   * @param limit bytes of the main channel that it gets
   */
  constructor(port: number, limit: number) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.uri = `tcp:127.0.0.1:${this.#listener.addr.port}`;
    this.#port = port;
    this.#limit = limit;
    this.#serving = this.#serve();
  }

  /** Fulfilled when the destination has been sent all that it gets. */
  get reached(): Promise<void> {
    return this.#reached.promise;
  }

  /** Closes all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#serving;
  }

  async #serve(): Promise<void> {
    const forwarding: Promise<void>[] = [];
    let limit = this.#limit;
    for await (const source of this.#listener) {
      this.#connections.push(source);
      const to = { hostname: "127.0.0.1", port: this.#port };
      const destination = await Deno.connect(to).catch(() => undefined);
      if (destination === undefined) {
        close(source);
        continue;
      }
      this.#connections.push(destination);
      forwarding.push(this.#forward(source, destination, limit));
      forwarding.push(this.#forward(destination, source, Infinity));
      limit = Infinity;
    }
    await Promise.all(forwarding);
  }

  /** Ends both connections with whichever ends first. */
  async #forward(from: Deno.TcpConn, to: Deno.TcpConn, limit: number): Promise<void> {
    const buffer = new Uint8Array(65536);
    try {
      for (let left = limit;;) {
        const count = await from.read(buffer.subarray(0, Math.min(buffer.length, left)));
        if (count === null) break;
        for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
        left -= count;
        if (left > 0) continue;
        // It stays open: the other direction notices when the destination goes.
        this.#reached.resolve();
        return;
      }
    } catch {
      // Broken or closed.
    }
    close(from);
    close(to);
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
    // Closed from the other direction already.
  }
}
