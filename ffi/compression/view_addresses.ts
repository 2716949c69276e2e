/** Addresses of views that are passed again and again. */

import { addressOf } from "../memory.ts";

/**
 * Remembers the address of each view it was asked for, since asking costs 0.5 us and an object. It
 * does not keep the views alive: an address is good for a call that was given the view itself.
 */
export class ViewAddresses {
  readonly #known = new WeakMap<Uint8Array<ArrayBuffer>, bigint>();

  /** Returns the address of a view's first byte. */
  of(view: Uint8Array<ArrayBuffer>): bigint {
    const known = this.#known.get(view);
    if (known !== undefined) return known;
    const address = BigInt(addressOf(view));
    this.#known.set(view, address);
    return address;
  }
}
