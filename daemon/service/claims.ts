/** What two sessions cannot both have: a destination, the name of an image that is received. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { placesOf } from "../../server/command/hand_over_mark.ts";
import { ServiceError } from "./service_error.ts";

/** Something that a session has. */
export interface Claim extends Disposable {
  /** Keeps it until something has happened, though it is disposed of before. */
  until(ended: Promise<unknown>): void;
}

/** Who has what. */
export class Claims {
  readonly #owners = new Map<string, string>();

  /**
   * Takes names, all or none; those that the same session has already stay its own.
   *
   * @param names each a kind, a space, and what it is
   * @param owner name of the session
   * @throws {ServiceError} `BEING_SERVED` when another session has one of them
   */
  take(names: readonly string[], owner: string): Claim {
    for (const name of names) {
      const other = this.#owners.get(name) ?? owner;
      if (other === owner) continue;
      throw new ServiceError(
        "BEING_SERVED",
        `Session ${other} has this ${name.replace(" ", ": ")}`,
        `let it go on, or cancel it first: postcopy status ${other} shows it`,
      );
    }
    const taken = names.filter((name) => !this.#owners.has(name));
    for (const name of taken) this.#owners.set(name, owner);
    let kept = false;
    const release = () => {
      for (const name of taken.splice(0)) this.#owners.delete(name);
    };
    return {
      until: (ended) => {
        kept = true;
        ended.then(release, release);
      },
      [Symbol.dispose]: () => {
        if (!kept) release();
      },
    };
  }
}

/** What a session has that sends to an address: two sources that connect to one destination would end it. */
export async function destinationNames(to: SocketAddress): Promise<string[]> {
  const names = [...await placesOf(to), formatSocketAddress(to)];
  return [...new Set(names)].map((name) => `destination ${name}`);
}
