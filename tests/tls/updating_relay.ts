/** A relay that ends TLS at both sides, so that a test can change the keys between two ends of ours. */

import type { Connection } from "../../channel/connection.ts";
import { openConnection } from "../../channel/open_connection.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { Errno } from "../../ffi/errno.ts";
import { Listener } from "../../ffi/listener.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TlsContext, type TlsRole } from "../../ffi/tls/context.ts";
import { LIBSSL, openSsl } from "../../ffi/tls/libssl.ts";
import { sharedParts, TlsSession, type TlsSessionInit } from "../../ffi/tls/session.ts";
import { SessionLock } from "../../ffi/tls/session_lock.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { sendWhole, serveAll } from "./pass_on.ts";

/** Bytes that are passed on together: between any two the keys may change. */
const PIECE = 32_768;
/** Kinds of change of openssl/ssl.h: SSL_KEY_UPDATE_NOT_REQUESTED and SSL_KEY_UPDATE_REQUESTED. */
const KIND = { OWN: 0, BOTH: 1 } as const;
/** Of RFC 8446: a record of the handshake, and the message in it that says that keys change. */
const HANDSHAKE = 22;
const KEY_UPDATE = 24;

const MESSAGES = {
  parameters: ["i32", "i32", "i32", "pointer", "usize", "pointer", "pointer"],
  result: "void",
} as const;
const messages = Deno.dlopen(LIBSSL, {
  SSL_set_msg_callback: { parameters: ["u64", /* session */ "pointer"], result: "void" },
}).symbols;

/** Changes of the keys of one session, begun by its end here: each once the last one was answered. */
export class KeyChanges implements Disposable {
  /** How often this end began. */
  begun = 0;
  /** How often the other end has answered with its own change. */
  answered = 0;
  readonly #session: bigint;
  readonly #lock: SessionLock;
  readonly #callback: Deno.UnsafeCallback<typeof MESSAGES>;

  constructor(init: TlsSessionInit) {
    this.#session = BigInt(init.address);
    this.#lock = new SessionLock(sharedParts(init).words);
    this.#callback = new Deno.UnsafeCallback(MESSAGES, (written, _version, type, bytes) => {
      if (written !== 0 || type !== HANDSHAKE) return;
      if (viewMemory(Number(Deno.UnsafePointer.value(bytes)), 1)[0] === KEY_UPDATE) this.answered++;
    });
    messages.SSL_set_msg_callback(this.#session, this.#callback.pointer);
  }

  /**
   * Begins another, if the last one is over; never while something waits for room.
   *
   * @param answers whether the other end writes on this session, so that it can answer
   */
  next(answers: boolean): void {
    if (answers && this.begun > this.answered) return;
    this.#lock.acquire();
    openSsl().ERR_clear_error();
    const begun = openSsl().SSL_key_update(this.#session, answers ? KIND.BOTH : KIND.OWN);
    // Else it goes in front of what is written next.
    if (begun === 1) openSsl().SSL_do_handshake(this.#session);
    this.#lock.release();
    if (begun !== 1) throw new Error("SSL_key_update failed");
    this.begun++;
  }

  /** The session is not used any more. */
  [Symbol.dispose](): void {
    messages.SSL_set_msg_callback(this.#session, null);
    this.#callback.close();
  }
}

/** One connection through the relay. */
export interface UpdatedConnection {
  /** With the source's session. */
  readonly source: KeyChanges;
  /** With the destination's. */
  readonly destination: KeyChanges;
}

/** Passes connections of a source on to a destination, both with a pre-shared key, and changes keys. */
export class UpdatingRelay implements AsyncDisposable {
  /** In the order in which they came: the main channel first. */
  readonly connections: UpdatedConnection[] = [];
  /** What went wrong in between. */
  readonly failures: Error[] = [];
  readonly #to: SocketAddress;
  readonly #listener: Listener;
  readonly #contexts: Readonly<Record<TlsRole, TlsContext>>;
  readonly #sockets: Socket[] = [];
  readonly #serving: Promise<void>;

  private constructor(listener: Listener, to: SocketAddress, key: Uint8Array) {
    this.#listener = listener;
    this.#to = to;
    const keys = [{ identity: "qemu", key }];
    this.#contexts = {
      client: TlsContext.psk("client", keys),
      server: TlsContext.psk("server", keys),
    };
    this.#serving = serveAll(
      listener,
      (socket) => this.#relay(socket).catch((error) => void this.failures.push(error)),
    );
  }

  /**
   * @param to where the destination listens
   * @param key of the identity `qemu`
   */
  static async start(to: SocketAddress, key: Uint8Array): Promise<UpdatingRelay> {
    return new UpdatingRelay(await Listener.listen(LOOPBACK), to, key);
  }

  /** Where a source connects instead. */
  get address(): SocketAddress {
    return this.#listener.address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const socket of this.#sockets) socket.shutdown();
    await this.#serving;
    for (const context of Object.values(this.#contexts)) context.close();
  }

  async #relay(accepted: Socket): Promise<void> {
    using stack = new DisposableStack();
    const open = async (socket: Socket, role: TlsRole) => {
      this.#sockets.push(stack.use(socket));
      const session = stack.use(new TlsSession(this.#contexts[role], socket.fd, "the end"));
      await shakeHands(ThreadPool.shared, () => session.handshake);
      return session.init;
    };
    const from = await open(accepted, "server");
    const to = await open(await Socket.connect(this.#to), "client");
    const source = stack.use(new KeyChanges(from));
    const destination = stack.use(new KeyChanges(to));
    const main = this.connections.length === 0;
    this.connections.push({ source, destination });
    const ends = [from, to].map((tls) => openConnection({ fd: tls.fd, tls })) as [
      Connection,
      Connection,
    ];
    // The other ends answer only where they write: the destination on the main channel alone.
    await Promise.allSettled([
      pass(ends[0], ends[1], () => destination.next(main)),
      pass(ends[1], ends[0], () => source.next(true)),
    ]);
  }
}

/** Passes all of one direction on, to its end, and has something done between two pieces. */
async function pass(from: Connection, to: Connection, between: () => void): Promise<void> {
  const bytes = new Uint8Array(PIECE);
  while (true) {
    const count = from.receiveInto(bytes, 0);
    if (count === -Errno.EAGAIN) {
      await waitReady(from.fd, PollEvents.IN, "something", {});
      continue;
    }
    if (count <= 0) return to.endSending();
    await sendWhole(to, bytes, count);
    between();
  }
}
