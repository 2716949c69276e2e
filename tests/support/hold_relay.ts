/** A relay before a destination that can hold back what the destination says. */

import type { SocketAddress } from "../../ffi/socket_address.ts";

/** Forwards connections to a port of the loopback. `using` it closes them. */
export class HoldRelay implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #port: number;
  readonly #connections: Deno.TcpConn[] = [];
  readonly #released = Promise.withResolvers<void>();
  #holding = false;
  #heldBytes = 0;

  /** @param to where the destination listens */
  constructor(to: SocketAddress) {
    this.#port = (to as { port: number }).port;
    this.#serve().catch(() => {}); // closed
  }

  /** Where to connect instead. */
  get address(): SocketAddress {
    return { transport: "tcp", host: "127.0.0.1", port: this.#listener.addr.port };
  }

  /** Bytes that the destination has said and nobody has heard. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Holds back what the destination says from now on. */
  hold(): void {
    this.#holding = true;
  }

  /** Lets it through. */
  release(): void {
    this.#holding = false;
    this.#released.resolve();
  }

  [Symbol.dispose](): void {
    this.release();
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
  }

  async #serve(): Promise<void> {
    for await (const source of this.#listener) {
      const destination = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
      this.#connections.push(source, destination);
      this.#pipe(source, destination, false);
      this.#pipe(destination, source, true);
    }
  }

  async #pipe(from: Deno.TcpConn, to: Deno.TcpConn, back: boolean): Promise<void> {
    const buffer = new Uint8Array(65536);
    try {
      while (true) {
        const count = await from.read(buffer);
        if (back && this.#holding) {
          this.#heldBytes += count ?? 0;
          await this.#released.promise;
        }
        if (count === null) return await to.closeWrite();
        for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
      }
    } catch {
      close(to); // the other end went away
    }
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // closed already
  }
}
