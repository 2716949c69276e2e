/** Two ends of a TLS session in one thread, and what becomes of their handshake. */

import { Errno } from "../../ffi/errno.ts";
import { PollSet } from "../../ffi/poll.ts";
import { TlsContext, type TlsPolicy, type TlsRole } from "../../ffi/tls/context.ts";
import { TlsHandshake } from "../../ffi/tls/handshake.ts";
import { readCertificates, readPrivateKey, readRevocationLists } from "../../ffi/tls/pem.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { Pair } from "../channel/pair.ts";
import type { Authority } from "../../qemu/authority.ts";

/** What an end has of an authority. */
export interface Has {
  /** The name of its certificate; absent: none. */
  readonly certificate?: string;
  /** Whether it looks in `ca-crl.pem`. */
  readonly revocations?: boolean;
  readonly policy?: Omit<TlsPolicy & { kind: "x509" }, "kind">;
  /** Whose certificate it shows, if not one of the authority that it trusts. */
  readonly of?: Authority;
}

/** Makes a context from an authority's files. */
export function context(role: TlsRole, trusted: Authority, has: Has): TlsContext {
  using stack = new DisposableStack();
  const read = (of: Authority, file: string) => Deno.readFileSync(of.path(file));
  const authorities = readCertificates(read(trusted, "ca-cert.pem"), "ca-cert.pem");
  const revoked = has.revocations
    ? readRevocationLists(read(trusted, "ca-crl.pem"), "ca-crl.pem")
    : [];
  for (const part of [...authorities, ...revoked]) stack.use(part);
  const policy = has.policy ?? { verifyPeer: true };
  if (has.certificate === undefined) {
    return TlsContext.x509(role, { authorities, revoked, chain: [] }, policy);
  }
  const of = has.of ?? trusted;
  const [own, lock] = [`${has.certificate}-cert.pem`, `${has.certificate}-key.pem`];
  const chain = readCertificates(read(of, own), own).map((part) => stack.use(part));
  const key = stack.use(readPrivateKey(read(of, lock), lock));
  return TlsContext.x509(role, { authorities, revoked, chain, key }, policy);
}

/** A client and a server on a connection. */
export class Ends implements Disposable {
  readonly #stack = new DisposableStack();
  readonly client: TlsSession;
  readonly server: TlsSession;

  private constructor(readonly pair: Pair, client: TlsContext, server: TlsContext, host?: string) {
    this.#stack.use(pair);
    this.client = this.#stack.use(new TlsSession(client, pair.here.fd, "the server", host));
    this.server = this.#stack.use(new TlsSession(server, pair.there.fd, "the client"));
  }

  /** Connects two ends; the contexts stay the caller's. */
  static async connect(client: TlsContext, server: TlsContext, host?: string): Promise<Ends> {
    return new Ends(await Pair.connect(), client, server, host);
  }

  /** Connects them by a unix socket. */
  static async connectUnix(client: TlsContext, server: TlsContext): Promise<Ends> {
    return new Ends(await Pair.connectUnix(), client, server);
  }

  /** Shakes hands; returns what each end says of it, undefined for a success. */
  shakeHands(): { readonly client: Error | undefined; readonly server: Error | undefined } {
    const client = new Shaking(this.client, () => this.pair.here.shutdown());
    const server = new Shaking(this.server, () => this.pair.there.shutdown());
    const poll = new PollSet(2);
    while (!client.over || !server.over) {
      client.step();
      server.step();
      client.watch(poll, 0);
      server.watch(poll, 1);
      if (client.over && server.over) break;
      if (poll.wait(20_000) === 0) throw new Error("No handshake within 20 s");
    }
    return { client: client.error, server: server.error };
  }

  /** Shakes hands, which must succeed; returns the ends' streams. */
  open(): { readonly client: TlsStream; readonly server: TlsStream } {
    const { client, server } = this.shakeHands();
    if (client !== undefined || server !== undefined) throw client ?? server;
    return { client: new TlsStream(this.client.init), server: new TlsStream(this.server.init) };
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** One end's handshake; when it fails the connection is closed, as a program would. */
class Shaking {
  readonly #handshake: TlsHandshake;
  readonly #fd: number;
  readonly #hangUp: () => void;
  over = false;
  error: Error | undefined;

  constructor(session: TlsSession, hangUp: () => void) {
    this.#handshake = new TlsHandshake(session.handshake);
    this.#fd = session.handshake.fd;
    this.#hangUp = hangUp;
  }

  step(): void {
    if (this.over) return;
    try {
      this.over = this.#handshake.step();
    } catch (error) {
      this.over = true;
      this.error = error as Error;
      this.#hangUp();
    }
    if (this.over) this.#handshake.close();
  }

  watch(poll: PollSet, slot: number): void {
    poll.watch(slot, this.over ? -1 : this.#fd, this.#handshake.wants);
  }
}

/** Shakes hands with an end that is elsewhere. */
export function shakeHands(session: TlsSession): TlsStream {
  using handshake = new TlsHandshake(session.handshake);
  const poll = new PollSet(1);
  while (!handshake.step()) {
    poll.watch(0, session.init.fd, handshake.wants);
    if (poll.wait(20_000) === 0) throw new Error("No handshake within 20 s");
  }
  return new TlsStream(session.init);
}

/** Reads once, waiting until there is something to say: bytes, the end or a failure. */
export function readOnce(stream: TlsStream, bytes: Uint8Array): number {
  const poll = new PollSet(1);
  while (true) {
    const count = stream.readInto(bytes, bytes.length);
    if (count !== -Errno.EAGAIN) return count;
    poll.watch(0, stream.fd, stream.wants);
    if (poll.wait(20_000) === 0) throw new Error("Nothing came within 20 s");
  }
}

/** Writes all, waiting for room. */
export function writeAll(stream: TlsStream, bytes: Uint8Array): number {
  const poll = new PollSet(1);
  for (let sent = 0; sent < bytes.length;) {
    const count = stream.writeFrom(bytes.subarray(sent), bytes.length - sent);
    if (count >= 0) sent += count;
    else if (count !== -Errno.EAGAIN) return count;
    else {
      poll.watch(0, stream.fd, stream.wants);
      if (poll.wait(20_000) === 0) throw new Error("No room within 20 s");
    }
  }
  return bytes.length;
}
