/** Begins TLS behind a source that knows nothing of it. */

import { openConnection } from "../../channel/open_connection.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { decrypt, encrypt, type Ending, serveAll } from "./pass_on.ts";

const KEY = "0e".repeat(32);

/** Listens for a source in clear, and passes on what it says with a pre-shared key. */
export class TlsBack implements AsyncDisposable {
  /** How connections are ended that the source ends from here on: a QEMU says no closing word. */
  ending: Ending = "cut";
  /** Connections of which the destination's side has been told of the end. */
  ended = 0;
  readonly #listener: Listener;
  readonly #file: string;
  readonly #context = TlsContext.psk("client", [
    { identity: "qemu", key: Uint8Array.fromHex(KEY) },
  ]);
  readonly #sockets: Socket[] = [];
  #to: SocketAddress | undefined;
  readonly #serving: Promise<void>;

  private constructor(listener: Listener, file: string) {
    this.#listener = listener;
    this.#file = file;
    this.#serving = serveAll(listener, (socket) => this.#pass(socket));
  }

  static async start(): Promise<TlsBack> {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, `qemu:${KEY}\n`);
    return new TlsBack(await Listener.listen(LOOPBACK), file);
  }

  /** What a destination is given. */
  get tls(): { readonly credentials: string } {
    return { credentials: this.#file };
  }

  /** Passes on to a destination, and returns where its source is to connect. */
  before(to: SocketAddress): SocketAddress {
    this.#to = to;
    return this.#listener.address;
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const socket of this.#sockets) socket.shutdown();
    await this.#serving;
    this.#context.close();
    await Deno.remove(this.#file);
  }

  async #pass(from: Socket): Promise<void> {
    using source = from;
    this.#sockets.push(source);
    try {
      using destination = await Socket.connect(this.#to!);
      this.#sockets.push(destination);
      using session = new TlsSession(this.#context, destination.fd, "the destination");
      await shakeHands(ThreadPool.shared, () => session.handshake);
      const secret = openConnection({ fd: destination.fd, tls: session.init });
      await Promise.allSettled([
        encrypt(source, secret, () => this.ending).finally(() => this.ended++),
        decrypt(secret, source),
      ]);
    } catch {
      // One of them is gone.
    }
  }
}
