/** A relay between a source and a receiver that keeps what the source sent. */

import { RamDecoder, StreamDecoder } from "../../migration/protocol/mod.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { ModelChannel } from "./memory_model.ts";

/** What came of each kind of record. */
export interface RecordCounts {
  xbzrle: number;
  compressed: number;
}

/** Forwards every connection and records the direction from the source, connection by connection. */
export class RecordingRelay implements AsyncDisposable {
  /** Where it listens, as QEMU writes it. */
  readonly uri: string;
  readonly #listener: Deno.TcpListener;
  readonly #port: number;
  readonly #recorded: Uint8Array[][] = [];
  readonly #connections: Deno.TcpConn[] = [];
  readonly #serving: Promise<void>;

  /** @param to where the receiver listens */
  constructor(to: SocketAddress) {
    if (to.transport !== "tcp") throw new TypeError("Cannot relay to a unix socket");
    this.#port = to.port;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.uri = `tcp:127.0.0.1:${this.#listener.addr.port}`;
    this.#serving = this.#serve();
  }

  /** The memory that the recorded bytes describe, read the plain way. */
  memory(): { readonly blocks: Map<string, Uint8Array>; readonly counts: RecordCounts } {
    const [main, preempt] = this.#recorded;
    const model = new CountingChannel();
    const decoder = new StreamDecoder(model);
    for (const piece of main ?? []) decoder.feed(piece);
    const urgent = new RamDecoder(new ModelChannel(model.blocks));
    for (const piece of preempt ?? []) urgent.feed(piece);
    return { blocks: model.blocks, counts: model.counts };
  }

  /** Closes all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#serving;
  }

  async #serve(): Promise<void> {
    const forwarding: Promise<void>[] = [];
    for await (const source of this.#listener) {
      const receiver = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
      const recorded: Uint8Array[] = [];
      this.#recorded.push(recorded);
      this.#connections.push(source, receiver);
      forwarding.push(forward(source, receiver, (piece) => recorded.push(piece)));
      forwarding.push(forward(receiver, source, () => {}));
    }
    await Promise.all(forwarding);
  }
}

/** Counts the records that stock QEMU sends only when told so. */
class CountingChannel extends ModelChannel {
  readonly counts: RecordCounts = { xbzrle: 0, compressed: 0 };

  override xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.counts.xbzrle++;
    super.xbzrlePage(offset, bytes, at, length);
  }

  override compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.counts.compressed++;
    super.compressedPage(offset, bytes, at, length);
  }
}

/** Forwards one direction; the end of one is the end of both. */
async function forward(
  from: Deno.TcpConn,
  to: Deno.TcpConn,
  keep: (piece: Uint8Array) => void,
): Promise<void> {
  try {
    for await (const piece of from.readable) {
      keep(piece);
      for (let at = 0; at < piece.length;) at += await to.write(piece.subarray(at));
    }
  } catch {
    // Broken or closed.
  }
  close(from);
  close(to);
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Closed from the other direction already.
  }
}
