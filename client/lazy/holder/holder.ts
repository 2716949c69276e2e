/** Keeps what was handed over open while servers come and go. */

import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { Listener } from "../../../ffi/listener.ts";
import type { Socket } from "../../../ffi/socket.ts";
import { type Held, HolderChannel } from "./holder_channel.ts";

interface Kept {
  readonly held: Held;
  readonly descriptors: readonly number[];
}

/** What a holder tells. */
export type HolderEvent =
  /** A server has taken over what is held. */
  | { readonly event: "taken"; readonly processes: number }
  /** The server is gone; whoever wants a page waits for the next one. */
  | { readonly event: "left"; readonly processes: number; readonly reason?: string };

/**
 * A process of its own that does nothing but keep descriptors: of each process whose memory is served, and of
 * the sockets where they connect. A server that is killed leaves them here, the next one gets them.
 *
 * One server has them at a time: the next is told when the connection of the one before has ended, which it
 * does when all of its threads are gone. Two that read the events of one userfaultfd would each know half of
 * the removals.
 */
export class Holder implements AsyncDisposable {
  readonly #kept = new Map<string, Kept>();
  readonly #onEvent: (event: HolderEvent) => void;
  readonly #closing = new AbortController();
  #listener: Listener | undefined;
  #serving: Promise<void> = Promise.resolve();

  /** @param onEvent told what happens */
  constructor(onEvent: (event: HolderEvent) => void = () => {}) {
    this.#onEvent = onEvent;
  }

  /** Processes that are held, and trees of such that CRIU restores, each of which counts as one. */
  get processes(): number {
    return [...this.#kept.values()].filter(({ held }) => held.kind !== "listener").length;
  }

  /**
   * Waits for servers, of which those that come early wait.
   *
   * @param path of a unix socket, which is made
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(path: string): Promise<void> {
    this.#listener = await Listener.listen({ transport: "unix", path });
    this.#serving = this.#serve(this.#listener);
  }

  /** Lets go of everything: whoever lacks pages, and is served by nobody, waits for ever, or gets zeros. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#serving;
    this.#listener?.close();
    for (const id of [...this.#kept.keys()]) this.#drop(id);
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(listener: Listener): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      let reason: string | undefined;
      try {
        await this.#serveOne(await listener.accept({ signal }));
      } catch (error) {
        if (signal.aborted) return;
        reason = error instanceof Error ? error.message : `${error}`;
      }
      const { processes } = this;
      this.#onEvent({ event: "left", processes, ...reason === undefined ? {} : { reason } });
    }
  }

  async #serveOne(socket: Socket): Promise<void> {
    const { signal } = this.#closing;
    using channel = new HolderChannel(socket);
    for (const { held, descriptors } of this.#kept.values()) await channel.send(held, descriptors);
    await channel.send({ kind: "end" });
    this.#onEvent({ event: "taken", processes: this.processes });
    while (true) {
      const line = await channel.receive({ signal });
      if (line === undefined) return;
      const { message, descriptors } = line;
      if (message.kind === "end") await channel.send(message);
      else if (message.kind === "drop") this.#drop(message.id);
      else {
        this.#drop(message.id);
        this.#kept.set(message.id, { held: message, descriptors });
      }
    }
  }

  #drop(id: string): void {
    const kept = this.#kept.get(id);
    if (kept === undefined) return;
    this.#kept.delete(id);
    for (const fd of kept.descriptors) closeDescriptor(fd);
  }
}
