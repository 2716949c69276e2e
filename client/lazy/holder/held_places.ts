/** A keeper as every kind of server has it: where it is, and the places at which it has sockets kept. */

import { Listener } from "../../../ffi/listener.ts";
import type { Held, HeldListener } from "./holder_channel.ts";
import { Holding } from "./holding.ts";
import type { HeldVisitor, Keeper } from "./keeper.ts";
import { SystemdStore } from "./systemd_store.ts";

/** In place of a holder's socket: the descriptor store of the service that this is. */
const SYSTEMD = "systemd";

/** What is held beside the places. */
export type HeldMemoryOf = Exclude<Held, HeldListener>;

/** A connection to a keeper. */
export class HeldPlaces implements Disposable {
  readonly #keeper: Keeper;
  /** Of the server before, by their paths. */
  readonly #listeners: Map<string, Listener>;

  private constructor(keeper: Keeper, listeners: Map<string, Listener>) {
    this.#keeper = keeper;
    this.#listeners = listeners;
  }

  /**
   * Takes over what is held; see {@linkcode Holding.open} and {@linkcode SystemdStore.open}.
   *
   * @param path of the holder's socket; `systemd`: the service's own descriptor store
   * @param visit called with what is held beside places; the descriptors are the callee's from then on
   */
  static async open(
    path: string,
    visit: (held: HeldMemoryOf, descriptors: readonly number[]) => void,
    signal: AbortSignal,
  ): Promise<HeldPlaces> {
    const listeners = new Map<string, Listener>();
    const visitAll: HeldVisitor = (held, descriptors) => {
      if (held.kind !== "listener") return visit(held, descriptors);
      const address = { transport: "unix" as const, path: held.path };
      listeners.set(held.path, Listener.adopt(descriptors[0]!, address));
    };
    try {
      const keeper = path === SYSTEMD
        ? await SystemdStore.open(visitAll)
        : await Holding.open(path, visitAll, signal);
      return new HeldPlaces(keeper, listeners);
    } catch (error) {
      for (const listener of listeners.values()) listener.leave();
      throw error;
    }
  }

  /**
   * Listens at a place; where it was listened on before, with those who connected meanwhile.
   *
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(path: string): Promise<Listener> {
    const taken = this.#listeners.get(path);
    this.#listeners.delete(path);
    if (taken !== undefined) return taken;
    const listener = await Listener.listen({ transport: "unix", path });
    await this.#keeper.keep({ kind: "listener", id: listenerId(path), path }, [listener.fd]);
    return listener;
  }

  /** Nobody is to connect at a place any more. */
  async stopListening(path: string): Promise<void> {
    this.#listeners.get(path)?.close();
    this.#listeners.delete(path);
    await this.#keeper.drop(listenerId(path));
  }

  /** See {@linkcode Keeper.keep}. */
  keep(held: HeldMemoryOf, descriptors: readonly number[]): Promise<void> {
    return this.#keeper.keep(held, descriptors);
  }

  /** See {@linkcode Keeper.drop}. */
  drop(id: string): Promise<void> {
    return this.#keeper.drop(id);
  }

  /** See {@linkcode Keeper.watch}. */
  watch(lost: () => void): void {
    this.#keeper.watch(lost);
  }

  /** Tells a manager of services that it serves. */
  async ready(): Promise<void> {
    if (this.#keeper instanceof SystemdStore) await this.#keeper.ready();
  }

  /** Leaves everything to the next server. */
  close(): void {
    for (const listener of this.#listeners.values()) listener.leave();
    this.#listeners.clear();
    this.#keeper.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function listenerId(path: string): string {
  return `listener ${path}`;
}
