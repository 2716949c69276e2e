/** Devices that look at memory while devices are loaded. */

import type { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { FlatView } from "../../migration/address_space/flat_view.ts";
import type { MemoryCore } from "../../migration/address_space/memory_core.ts";

/** Reads flat views for devices, and notes for whom changes had to be committed before. */
export class ViewReader {
  readonly #core: MemoryCore;
  readonly #forcedBy: string[] = [];

  /** @param core whose address spaces are read */
  constructor(core: MemoryCore) {
    this.#core = core;
  }

  /** Who read a view with changes pending inside of a transaction, in this order, one entry a commit. */
  get forcedBy(): readonly string[] {
    return this.#forcedBy;
  }

  /** Forgets who read. */
  reset(): void {
    this.#forcedBy.length = 0;
  }

  /** Returns what is where now. */
  read(space: AddressSpace, reader: string): FlatView {
    const { statistics } = this.#core;
    const before = statistics.forced;
    const view = space.flatView();
    for (let forced = before; forced < statistics.forced; forced++) this.#forcedBy.push(reader);
    return view;
  }
}
