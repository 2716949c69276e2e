/**
 * A relay between two QEMUs that keeps every byte of every connection, and can cut the first of them.
 *
 * @module
 */

/** Forwards connections to a destination and keeps what passes, in the order of the connections. */
export class WireRecorder implements AsyncDisposable {
  /** Where it listens, as QEMU writes it. */
  readonly uri: string;
  /** Port of the destination on loopback; one that recovers listens at another. */
  port: number;
  /** The connections so far, in their order. */
  readonly connections: RecordedConnection[] = [];
  readonly #listener: Deno.TcpListener;
  readonly #first = Promise.withResolvers<RecordedConnection>();
  readonly #serving: Promise<void>;

  /** @param port where the destination listens */
  constructor(port: number) {
    this.port = port;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.uri = `tcp:127.0.0.1:${this.#listener.addr.port}`;
    this.#first.promise.catch(() => {});
    this.#serving = this.#serve();
  }

  /** Fulfilled when the source has connected: the main channel. */
  get main(): Promise<RecordedConnection> {
    return this.#first.promise;
  }

  /** Fulfilled when all connections have ended by themselves. */
  async ended(): Promise<void> {
    await Promise.all(this.connections.map((each) => each.ended));
  }

  /** Closes what is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.connections) connection.close();
    await this.#serving;
    await this.ended();
  }

  async #serve(): Promise<void> {
    for await (const source of this.#listener) {
      try {
        const destination = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
        this.connections.push(new RecordedConnection(source, destination));
        this.#first.resolve(this.connections[0]!);
      } catch (error) {
        source.close();
        this.#first.reject(error); // Nobody listens.
      }
    }
  }
}

/** One connection, and all that has passed over it. */
export class RecordedConnection {
  /** From the source to the destination; at least what the destination got. */
  readonly down: Uint8Array[] = [];
  /** From the destination to the source. */
  readonly up: Uint8Array[] = [];
  /** Fulfilled when it has ended. */
  readonly ended: Promise<void>;
  readonly #source: Deno.TcpConn;
  readonly #destination: Deno.TcpConn;
  #sent = 0;
  #awaited: (PromiseWithResolvers<void> & { readonly bytes: number }) | undefined;
  #cut = false;

  /** Forwards between these two until both have ended. */
  constructor(source: Deno.TcpConn, destination: Deno.TcpConn) {
    this.#source = source;
    this.#destination = destination;
    this.ended = Promise.all([this.#goDown(), this.#goUp()]).then(() => {});
  }

  /**
   * Waits until so many bytes more came from the source.
   *
   * @throws {Error} when the connection ends before
   */
  async more(bytes: number): Promise<void> {
    this.#awaited = { ...Promise.withResolvers<void>(), bytes: this.#sent + bytes };
    await this.#awaited.promise;
  }

  /** Cuts the connection in the middle of the next piece from the source, and waits for that. */
  async cut(): Promise<void> {
    this.#cut = true;
    await this.ended;
  }

  /** Ends both of its sides. */
  close(): void {
    close(this.#source);
    close(this.#destination);
  }

  async #goDown(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    let open = true;
    for (;;) {
      const count = await read(this.#source, buffer);
      if (count === 0) break;
      const piece = buffer.slice(0, this.#cut ? (count + 1) >> 1 : count);
      // Kept before it is sent: a destination that has a page without our knowing would be a riddle.
      this.down.push(piece);
      this.#sent += piece.length;
      // A destination that closes first does not keep us from hearing the source out.
      open &&= await write(this.#destination, piece);
      if (this.#cut) break;
      if (this.#awaited !== undefined && this.#sent >= this.#awaited.bytes) this.#awaited.resolve();
    }
    this.#awaited?.reject(new Error(`Connection ended after ${this.#sent} bytes from the source`));
    if (this.#cut) this.close();
    else await this.#destination.closeWrite().catch(() => {});
  }

  async #goUp(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    let open = true;
    for (;;) {
      const count = await read(this.#destination, buffer);
      if (count === 0) break;
      const piece = buffer.slice(0, count);
      this.up.push(piece);
      open &&= await write(this.#source, piece);
    }
    if (!this.#cut) await this.#source.closeWrite().catch(() => {});
  }
}

/** Reads some bytes; none at the end, however that comes. */
async function read(from: Deno.TcpConn, buffer: Uint8Array): Promise<number> {
  try {
    return await from.read(buffer) ?? 0;
  } catch {
    return 0;
  }
}

/** Returns whether all bytes could be written. */
async function write(to: Deno.TcpConn, bytes: Uint8Array): Promise<boolean> {
  try {
    for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
    return true;
  } catch {
    return false;
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Closed already.
  }
}
