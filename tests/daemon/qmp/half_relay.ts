/** A relay that loses its source without a word to the destination, as a network does in which a host went down. */

/** Takes what a destination says; returns what of it is passed on. */
export type Sieve = (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;

/** Passes connections on to a port of the loopback; those that are dropped stay open at the destination. */
export class HalfRelay implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #sources: Deno.TcpConn[] = [];
  readonly #destinations: Deno.TcpConn[] = [];
  readonly #serving: Promise<void>;

  /**
   * @param port where the destination listens
   * @param sieve makes that of a connection; default: all that the destination says is passed on
   */
  constructor(port: number, sieve: () => Sieve = () => (bytes) => bytes) {
    this.#serving = this.#serve(port, sieve);
  }

  /** Where it listens, as QEMU writes it. */
  get uri(): string {
    return `tcp:127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Ends the connections to the source alone. */
  drop(): void {
    for (const source of this.#sources.splice(0)) close(source);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.drop();
    for (const destination of this.#destinations) close(destination);
    await this.#serving;
  }

  async #serve(port: number, sieve: () => Sieve): Promise<void> {
    const all: Promise<void>[] = [];
    for await (const source of this.#listener) {
      const to = { hostname: "127.0.0.1", port };
      const destination = await Deno.connect(to).catch(() => undefined);
      if (destination === undefined) {
        close(source);
        continue;
      }
      this.#sources.push(source);
      this.#destinations.push(destination);
      // The end of one that was not dropped is an end for both.
      const end = () => {
        if (!this.#sources.includes(source)) return;
        close(source);
        close(destination);
      };
      all.push(
        pass(source, destination).then(end),
        pass(destination, source, sieve()).then(end),
      );
    }
    await Promise.all(all);
  }
}

async function pass(
  from: Deno.TcpConn,
  to: Deno.TcpConn,
  sieve: Sieve = (bytes) => bytes,
): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count; (count = await from.read(buffer)) !== null;) {
      const bytes = sieve(buffer.subarray(0, count));
      for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
    }
  } catch {
    // Dropped, or closed.
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Closed before.
  }
}
