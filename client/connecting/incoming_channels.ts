/** Telling the connections of a migration apart: the main channel, and whatever else connects. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import type { Listener } from "../../ffi/listener.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { Socket } from "../../ffi/socket.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import type { IncomingConnections } from "./preempt_door.ts";

/** Connections that say nothing, kept because one may be the preempt channel of QEMU 7.2. */
const MOST_SILENT = 16;

/** A connection that is not known yet. */
interface Caller {
  readonly socket: Socket;
  readonly first: FirstBytes;
  /** Ends the wait for what it says, which must be before its descriptor is closed. */
  readonly abort: AbortController;
}

/** The main channel: what its tasks need, and its socket, to be closed when they have ended. */
export interface IncomingMain {
  readonly socket: Socket;
  readonly connection: ConnectionInit;
}

/**
 * Accepts the connections of one migration, for as long as its destination is there. The main channel is
 * the one that begins with QEMU's magic; the preempt channel has no magic and says nothing before it is
 * needed, and QEMU 7.2 opens it before the main channel has spoken. So whoever is silent is kept, and
 * handed over to the {@linkcode PreemptDoor} once pages can be asked for. Whoever says something else is
 * sent away: health checks, port scanners, a second source.
 */
export class IncomingChannels implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #main = Promise.withResolvers<IncomingMain>();
  readonly #silent: Caller[] = [];
  readonly #waits = new Set<Promise<void>>();
  /** Ends the listening on this thread. */
  #abort = new AbortController();
  #hasMain = false;
  #refusing = false;
  #closed = false;

  /** @param listener where the source connects; stays the caller's */
  constructor(listener: Listener) {
    this.#listener = listener;
    this.#main.promise.catch(() => {});
    this.#keep(this.#accept());
  }

  /** The main channel; the caller closes it. Rejects when closed first. */
  get main(): Promise<IncomingMain> {
    return this.#main.promise;
  }

  /** Accepts no more: from here on the fault server does. What is returned stays open until `close`. */
  handOver(): IncomingConnections {
    this.#abort.abort(new Error("Connections are accepted by the fault worker"));
    return {
      listenerFd: this.#listener.fd,
      silent: this.#silent.map(({ first }) => first.connection),
    };
  }

  /** The task that connections were handed over to has ended: whoever comes is sent away from here. */
  takeBack(): void {
    if (this.#closed) return;
    this.#refusing = true;
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#keep(this.#accept());
  }

  /** Sends away whoever comes from here on. Those made so far stay open: another thread may know them. */
  refuse(): void {
    this.#refusing = true;
    this.#main.reject(new Error("No more connections are accepted"));
  }

  /**
   * Accepts no further connections and closes what was not given out, once nobody waits on a descriptor
   * any more. Closing again does nothing.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.refuse();
    this.#abort.abort(new Error("No more connections are accepted"));
    await Promise.all(this.#waits);
    for (const { socket } of this.#silent.splice(0)) socket.close();
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
        if (this.#refusing) socket.close();
        else this.#admit(socket, signal);
      }
    } catch (error) {
      this.#main.reject(error);
    }
  }

  #admit(socket: Socket, signal: AbortSignal): void {
    if (this.#silent.length === MOST_SILENT) {
      const longest = this.#silent.shift()!;
      longest.abort.abort();
      longest.socket.close();
    }
    const first = new FirstBytes({ fd: socket.fd });
    const caller = { socket, first, abort: new AbortController() };
    this.#silent.push(caller);
    this.#keep(this.#identify(caller, signal));
  }

  async #identify(caller: Caller, signal: AbortSignal): Promise<void> {
    const { socket, first, abort } = caller;
    const either = { signal: AbortSignal.any([signal, abort.signal]) };
    while (true) {
      let waited = true;
      try {
        await waitReady(first.fd, PollEvents.IN, "a connection's first bytes", either);
      } catch {
        waited = false;
      }
      // In one turn with this look: the fault server listens to it once it is handed over.
      if (signal.aborted) return;
      const index = this.#silent.indexOf(caller);
      if (index < 0) return; // closed meanwhile
      const speaker = waited ? first.listen() : "stranger";
      if (speaker === "silent") continue;
      // A page, and nobody has been told yet to take them: it goes to the door with what it has said.
      if (speaker === "preempt" && this.#hasMain) return;
      this.#silent.splice(index, 1);
      if (speaker !== "main" || this.#hasMain || this.#refusing) return socket.close();
      this.#hasMain = true;
      return this.#main.resolve({ socket, connection: first.connection });
    }
  }
}
