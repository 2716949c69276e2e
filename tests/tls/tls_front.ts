/** Ends TLS in front of a destination that knows nothing of it. */

import type { Connection } from "../../channel/connection.ts";
import { openConnection } from "../../channel/open_connection.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { SourceTlsOptions } from "../../server/outgoing/outgoing_options.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { decrypt, encrypt, type Ending, serveAll } from "./pass_on.ts";

const KEY = "0a".repeat(32);

/** Listens for sources with a pre-shared key and passes what they say on, in clear. */
export class TlsFront implements AsyncDisposable {
  /** How each connection was ended, in the order of their ends. */
  readonly endings: Ending[] = [];
  #changed = Promise.withResolvers<void>();
  readonly #to: SocketAddress;
  readonly #file: string;
  readonly #listener: Listener;
  readonly #context = TlsContext.psk("server", [
    { identity: "qemu", key: Uint8Array.fromHex(KEY) },
  ]);
  readonly #sources: Socket[] = [];
  readonly #destinations: Socket[] = [];
  readonly #serving: Promise<void>;

  private constructor(listener: Listener, to: SocketAddress, file: string) {
    this.#listener = listener;
    this.#to = to;
    this.#file = file;
    this.#serving = serveAll(listener, (socket) => this.#pass(socket));
  }

  /** @param to where the destination listens */
  static async start(to: SocketAddress): Promise<TlsFront> {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, `qemu:${KEY}\n`);
    return new TlsFront(await Listener.listen(LOOPBACK), to, file);
  }

  /** What a source is given, to come here. */
  get source(): { readonly to: SocketAddress; readonly tls: SourceTlsOptions } {
    return { to: this.#listener.address, tls: { credentials: this.#file } };
  }

  /** Resolves when so many connections were ended by their source. */
  async ended(count: number): Promise<void> {
    while (this.endings.length < count) await this.#changed.promise;
  }

  /** Cuts all connections of sources. */
  cut(): void {
    for (const socket of this.#sources) socket.shutdown();
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    for (const socket of this.#destinations) socket.shutdown();
    await this.#serving;
    this.#context.close();
    await Deno.remove(this.#file);
  }

  async #pass(from: Socket): Promise<void> {
    using source = from;
    this.#sources.push(source);
    using session = new TlsSession(this.#context, source.fd, "the source");
    try {
      await shakeHands(ThreadPool.shared, () => session.handshake);
      using destination = await Socket.connect(this.#to);
      this.#destinations.push(destination);
      const secret = openConnection({ fd: source.fd, tls: session.init });
      // Each is heard to its end, whatever becomes of the other.
      await Promise.allSettled([
        this.#hearOut(secret, destination),
        encrypt(destination, secret).finally(() => destination.shutdown()),
      ]);
    } catch {
      // One of them is gone.
    }
  }

  async #hearOut(from: Connection, to: Socket): Promise<void> {
    this.endings.push(await decrypt(from, to));
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
