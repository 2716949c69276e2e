/** Telling the connections of a migration apart: the main channel, and whatever else connects. */

import type { Listener } from "../../ffi/listener.ts";
import type { Socket } from "../../ffi/socket.ts";
import { shutdownSocket } from "../../ffi/socket_calls.ts";
import { STREAM_MAGIC } from "../../migration/protocol/constants.ts";
import type { IncomingConnections } from "./preempt_door.ts";

/** The first four bytes of a page's record are at most this: its offset is below 2^53. */
const MOST_OF_PAGE = 0x1f_ffff;
/** Connections that say nothing, kept because one may be the preempt channel of QEMU 7.2. */
const MOST_SILENT = 16;

/**
 * Accepts the connections of one migration. The main channel is the one that begins with QEMU's
 * magic; the preempt channel has no magic and says nothing before it is needed, and QEMU 7.2 opens
 * it before the main channel has spoken. So whoever is silent is kept, and handed over to the
 * {@linkcode PreemptDoor} once pages can be asked for. Whoever says something else is sent away:
 * health checks, port scanners, a second source.
 */
export class IncomingChannels implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #abort = new AbortController();
  readonly #main = Promise.withResolvers<Socket>();
  readonly #silent: Socket[] = [];
  readonly #waits = new Set<Promise<void>>();
  #hasMain = false;

  /** @param listener where the source connects; stays the caller's */
  constructor(listener: Listener) {
    this.#listener = listener;
    this.#main.promise.catch(() => {});
    this.#keep(this.#accept());
  }

  /** The main channel; the caller closes it. Rejects when closed first. */
  get main(): Promise<Socket> {
    return this.#main.promise;
  }

  /** Accepts no more: from here on the fault worker does. What is returned stays open until `close`. */
  handOver(): IncomingConnections {
    this.#abort.abort(new Error("Connections are accepted by the fault worker"));
    return { listenerFd: this.#listener.fd, silentFds: this.#silent.map((socket) => socket.fd) };
  }

  /** Refuses all further connections. Those made so far stay open: another thread may know them. */
  refuse(): void {
    this.#abort.abort(new Error("No more connections are accepted"));
    if (this.#listener.fd >= 0) shutdownSocket(this.#listener.fd);
  }

  /**
   * Refuses further connections and closes what was not given out, once nobody waits on a descriptor
   * any more. Closing again does nothing.
   */
  async close(): Promise<void> {
    this.refuse();
    await Promise.all(this.#waits);
    for (const socket of this.#silent.splice(0)) socket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Remembers a wait until it has ended; it never rejects. */
  #keep(wait: Promise<void>): void {
    this.#waits.add(wait);
    wait.then(() => this.#waits.delete(wait));
  }

  async #accept(): Promise<void> {
    const { signal } = this.#abort;
    try {
      while (true) {
        await this.#listener.ready({ signal });
        // In one turn with this look: a client taken after `handOver` would be in nobody's hands, and
        // it may be the preempt channel.
        signal.throwIfAborted();
        const socket = this.#listener.take();
        if (socket === undefined) continue;
        if (this.#silent.length === MOST_SILENT) this.#silent.shift()!.close();
        this.#silent.push(socket);
        this.#keep(this.#identify(socket));
      }
    } catch (error) {
      this.#main.reject(error);
    }
  }

  async #identify(socket: Socket): Promise<void> {
    let magic = new Uint8Array(0);
    try {
      magic = (await socket.peek(4, { signal: this.#abort.signal })).slice();
    } catch {
      // Closed below, as one that said nothing.
    }
    if (this.#abort.signal.aborted) return; // handed over: the fault worker listens to it now
    const index = this.#silent.indexOf(socket);
    if (index < 0) return; // closed meanwhile
    const first = magic.length === 4 ? new DataView(magic.buffer).getUint32(0) : -1;
    // A page, and nobody has been told yet to take them: the door looks closer.
    if (this.#hasMain && first >= 0 && first <= MOST_OF_PAGE) return;
    this.#silent.splice(index, 1);
    const isMain = first === STREAM_MAGIC;
    if (!isMain || this.#hasMain) return socket.close();
    this.#hasMain = true;
    this.#main.resolve(socket);
  }
}
