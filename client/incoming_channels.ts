/** Telling the connections of a migration apart: the main channel, then the preempt channel. */

import type { Listener, Socket } from "../ffi/socket.ts";
import { STREAM_MAGIC } from "../migration/protocol/constants.ts";

/**
 * Accepts the connections of one migration. The main channel is the one that begins with QEMU's
 * magic; the preempt channel has no magic and says nothing before it is needed, and QEMU 7.2 opens
 * it before the main channel has spoken: so whatever is open besides the main channel is taken for
 * it. Connections that speak something else (health checks, port scanners) are closed.
 */
export class IncomingChannels implements Disposable {
  readonly #listener: Listener;
  readonly #abort = new AbortController();
  readonly #main = Promise.withResolvers<Socket>();
  readonly #preempt = Promise.withResolvers<Socket>();
  readonly #silent: Socket[] = [];
  #hasMain = false;
  #hasPreempt = false;

  /** @param listener where the source connects; stays the caller's */
  constructor(listener: Listener) {
    this.#listener = listener;
    this.#main.promise.catch(() => {});
    this.#preempt.promise.catch(() => {});
    this.#accept();
  }

  /** The main channel; the caller closes it. Rejects when closed first. */
  get main(): Promise<Socket> {
    return this.#main.promise;
  }

  /** The preempt channel, if the source opens one; the caller closes it. Rejects when closed first. */
  get preempt(): Promise<Socket> {
    return this.#preempt.promise;
  }

  /** Accepts no more and closes what was not given out. Closing again does nothing. */
  close(): void {
    this.#abort.abort(new Error("No more connections are accepted"));
    for (const socket of this.#silent.splice(0)) socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #accept(): Promise<void> {
    const { signal } = this.#abort;
    try {
      while (!this.#hasPreempt) {
        const socket = await this.#listener.accept({ signal });
        if (this.#hasMain) this.#givePreempt(socket);
        else this.#identify(socket);
      }
    } catch (error) {
      this.#main.reject(error);
      this.#preempt.reject(error);
    }
  }

  async #identify(socket: Socket): Promise<void> {
    this.#silent.push(socket);
    let magic = new Uint8Array(0);
    try {
      magic = (await socket.peek(4, { signal: this.#abort.signal })).slice();
    } catch {
      // Closed below, as one that said nothing.
    }
    const index = this.#silent.indexOf(socket);
    if (index < 0) return; // given out as the preempt channel, or closed, while it was silent
    this.#silent.splice(index, 1);
    const isMain = magic.length === 4 && new DataView(magic.buffer).getUint32(0) === STREAM_MAGIC;
    if (!isMain || this.#hasMain) return socket.close();
    this.#hasMain = true;
    this.#main.resolve(socket);
    const other = this.#silent.shift();
    if (other !== undefined) this.#givePreempt(other);
  }

  #givePreempt(socket: Socket): void {
    if (this.#hasPreempt) return socket.close();
    this.#hasPreempt = true;
    this.#preempt.resolve(socket);
  }
}
