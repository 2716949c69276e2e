/** A relay between a source and a receiver whose connections can be broken. */

import type { SocketAddress } from "../../ffi/socket_address.ts";

/** A source's connection and the one to the receiver behind it. */
class Pair {
  readonly #source: Deno.TcpConn;
  readonly #receiver: Deno.TcpConn;
  readonly #onAnswer: (bytes: Uint8Array) => void;
  readonly forwarding: Promise<void>;
  /** What the source said last, where that is kept back. */
  #last: Uint8Array | undefined;

  constructor(
    source: Deno.TcpConn,
    receiver: Deno.TcpConn,
    keepsLast: boolean,
    onAnswer: (bytes: Uint8Array) => void,
  ) {
    if (keepsLast) this.#last = new Uint8Array();
    this.#source = source;
    this.#receiver = receiver;
    this.#onAnswer = onAnswer;
    this.forwarding = this.#run();
  }

  /** Breaks both. */
  break(): void {
    for (const connection of [this.#source, this.#receiver]) {
      try {
        connection.close();
      } catch {
        // Closed before.
      }
    }
  }

  async #run(): Promise<void> {
    await Promise.all([
      this.#forward(this.#source, this.#receiver, (bytes) => this.#allButLast(bytes)),
      this.#forward(this.#receiver, this.#source, (bytes) => bytes, this.#onAnswer),
    ]);
  }

  /** Forwards one direction; the end of one is the end of both. */
  async #forward(
    from: Deno.TcpConn,
    to: Deno.TcpConn,
    pass: (bytes: Uint8Array) => Uint8Array,
    then: (bytes: Uint8Array) => void = () => {},
  ) {
    const buffer = new Uint8Array(65536);
    try {
      for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
        const passed = pass(buffer.subarray(0, count));
        for (let at = 0; at < passed.length;) at += await to.write(passed.subarray(at));
        then(passed);
      }
    } catch {
      // Broken or closed.
    }
    this.break();
  }

  #allButLast(bytes: Uint8Array): Uint8Array {
    if (this.#last === undefined) return bytes;
    const passed = new Uint8Array([...this.#last, ...bytes.subarray(0, -1)]);
    this.#last = bytes.slice(-1);
    return passed;
  }
}

/** Forwards every connection, until it is told to break them. */
export class BreakRelay implements AsyncDisposable {
  /** Where it listens, as QEMU writes it. */
  readonly uri: string;
  readonly #listener: Deno.TcpListener;
  readonly #port: number;
  readonly #serving: Promise<void>;
  #pairs: Pair[] = [];
  /** What the receiver has said since the last break, as hexadecimal digits. */
  #said = "";
  #breakBehind: string | undefined;
  #keepsLast = false;

  /** @param to where the receiver listens */
  constructor(to: SocketAddress) {
    if (to.transport !== "tcp") throw new TypeError("Cannot relay to a unix socket");
    this.#port = to.port;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.uri = `tcp:127.0.0.1:${this.#listener.addr.port}`;
    this.#serving = this.#serve();
  }

  /** Connections since the last break. */
  get connections(): number {
    return this.#pairs.length;
  }

  /** Breaks one of the connections since the last break, by its order. */
  breakOne(index: number): void {
    this.#pairs[index]!.break();
  }

  /** Breaks all connections; those that come later are others. */
  breakAll(): void {
    for (const pair of this.#pairs.splice(0)) pair.break();
    this.#said = "";
  }

  /** Keeps the last byte back that a source has said, on each connection from here on. */
  keepLast(): void {
    this.#keepsLast = true;
  }

  /** Breaks all connections once, as soon as the source has been told something. */
  breakBehind(answer: Uint8Array): void {
    this.#breakBehind = answer.toHex();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.breakAll();
    await this.#serving;
  }

  async #serve(): Promise<void> {
    const all: Promise<void>[] = [];
    for await (const source of this.#listener) {
      const to = { hostname: "127.0.0.1", port: this.#port };
      const receiver = await Deno.connect(to).catch(() => undefined);
      if (receiver === undefined) {
        source.close();
        continue;
      }
      const pair = new Pair(source, receiver, this.#keepsLast, (bytes) => this.#hear(bytes));
      this.#pairs.push(pair);
      all.push(pair.forwarding);
    }
    await Promise.all(all);
  }

  #hear(bytes: Uint8Array): void {
    this.#said += bytes.toHex();
    if (this.#breakBehind === undefined || !this.#said.includes(this.#breakBehind)) return;
    this.#breakBehind = undefined;
    this.breakAll();
  }
}
