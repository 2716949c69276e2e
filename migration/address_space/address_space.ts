/** What a processor or a device sees of memory. */

import type { FlatView } from "./flat_view.ts";
import type { MemoryCore } from "./memory_core.ts";
import type { MemoryListener } from "./memory_listener.ts";
import type { MemoryRegion } from "./memory_region.ts";
import { MemoryRegionError } from "./memory_region_error.ts";
import { checkEnd, checkSameCore, checkSize } from "./region_checks.ts";
import { SpaceView } from "./space_view.ts";
import { listenerLoop, MOST_ROUNDS } from "./subscription.ts";
import { throwErrors } from "./thrown.ts";

/** An address space: what a tree of regions looks like from its root. */
export class AddressSpace {
  /** The machine it belongs to. */
  readonly core: MemoryCore;
  /** For messages. */
  readonly name: string;
  /** The region that it shows. */
  readonly root: MemoryRegion;
  /** Bytes: no address is at or above it. */
  readonly size: number;
  readonly #view: SpaceView;
  #closed = false;

  /**
   * Makes an address space.
   *
   * @param core the machine it belongs to
   * @param name for messages
   * @param root the region that it shows; several address spaces may show one
   * @param size bytes, at most 2^53; default those of the root
   * @throws {MemoryRegionError} when the root reaches past the end
   */
  constructor(core: MemoryCore, name: string, root: MemoryRegion, size: number = root.size) {
    checkSize("address space", name, size);
    checkSameCore({ core, name }, root);
    checkEnd({ name, size }, root, 0);
    this.core = core;
    this.name = name;
    this.root = root;
    this.size = size;
    this.#view = new SpaceView(core, name, root);
    core.changes.addSpace(this.#view);
    try {
      core.changed();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Returns what is where now. Inside of a transaction it commits the changes made so far, when this
   * address space can see any of them.
   *
   * @throws {MemoryRegionError} after close(), and when the regions cannot be shown
   * @throws what a listener throws in the commit
   */
  flatView(): FlatView {
    this.#checkOpen();
    const { core } = this;
    // A listener may change something again.
    for (let rounds = 0; core.changes.has(this.#view); rounds++) {
      if (rounds === MOST_ROUNDS) throw listenerLoop(this.name);
      core.commit();
    }
    return this.#view.shown;
  }

  /**
   * What was where at the last commit. Inside of a transaction it may be out of date; with the core's
   * `debug` reading it then throws {@linkcode StaleViewError}.
   */
  get lastView(): FlatView {
    return this.#view.shown;
  }

  /**
   * Tells a listener all that is there at the last commit, and every difference from then on.
   *
   * @returns takes the listener off again: it is told that everything is gone; may be called twice
   * @throws what the listener throws; it is not added then
   */
  addListener(listener: MemoryListener): () => void {
    this.#checkOpen();
    return this.#view.addListener(listener);
  }

  /**
   * Takes the address space out of its machine; its listeners are told that everything is gone. May be
   * called twice.
   *
   * @throws what listeners throw, when all have been told
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.core.changes.removeSpace(this.#view);
    const errors: unknown[] = [];
    this.#view.close(errors);
    throwErrors(errors, `Several listeners of ${this.name} failed when it was closed`);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new MemoryRegionError("CLOSED", `Address space used after close(): ${this.name}`, [
      this.name,
    ]);
  }
}
