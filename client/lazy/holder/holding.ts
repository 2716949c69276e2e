/** A server's connection to its holder. */

import { Socket } from "../../../ffi/socket.ts";
import { type Held, HolderChannel, type HolderLine, type HolderMessage } from "./holder_channel.ts";
import type { HeldVisitor, Keeper } from "./keeper.ts";

/** Gives a holder what the next server must have, and takes over what the last one left. */
export class Holding implements Keeper, Disposable {
  readonly #channel: HolderChannel;
  #confirming: Promise<unknown> = Promise.resolve();

  private constructor(channel: HolderChannel) {
    this.#channel = channel;
  }

  /**
   * Connects to a holder, and waits for its turn when another server has what is held.
   *
   * @param path of the holder's unix socket
   * @param visit called with what is held
   * @throws {SyscallError} when nobody listens there; the signal's reason
   */
  static async open(
    path: string,
    visit: HeldVisitor,
    signal: AbortSignal,
  ): Promise<Holding> {
    const socket = await Socket.connect({ transport: "unix", path }, { signal });
    const channel = new HolderChannel(socket);
    try {
      while (true) {
        const { message, descriptors } = requireLine(await channel.receive({ signal }));
        if (message.kind === "end") return new Holding(channel);
        if (message.kind !== "drop") visit(message, descriptors);
      }
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  /** See {@linkcode Keeper.keep}; fails when the holder is gone. */
  keep(held: Held, descriptors: readonly number[]): Promise<void> {
    return this.#confirmed(held, descriptors);
  }

  /** See {@linkcode Keeper.drop}. A holder that is gone holds nothing. */
  async drop(id: string): Promise<void> {
    await this.#confirmed({ kind: "drop", id }).catch(() => {});
  }

  /** See {@linkcode Keeper.watch}. */
  watch(lost: () => void): void {
    this.#channel.ended().then(lost, () => {});
  }

  /** See {@linkcode Keeper.close}. */
  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Sends a line, and resolves when the holder has done what it says. */
  #confirmed(message: HolderMessage, descriptors: readonly number[] = []): Promise<void> {
    const confirmed = this.#confirming.then(async () => {
      await this.#channel.send(message, descriptors);
      await this.#channel.send({ kind: "end" });
      requireLine(await this.#channel.receive());
    });
    this.#confirming = confirmed.catch(() => {});
    return confirmed;
  }
}

function requireLine(line: HolderLine | undefined): HolderLine {
  if (line !== undefined) return line;
  throw new Error("Holder is gone: start it again with lazy --holder, then this");
}
