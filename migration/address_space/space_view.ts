/** The inner side of an address space: its present view, and who is told of differences. */

import { type Difference, difference } from "./difference.ts";
import { EMPTY_VIEW, type FlatView } from "./flat_view.ts";
import { GuardedFlatView } from "./guarded_flat_view.ts";
import type { MemoryCore } from "./memory_core.ts";
import type { MemoryListener } from "./memory_listener.ts";
import type { MemoryRegion } from "./memory_region.ts";
import { Subscription } from "./subscription.ts";
import { throwErrors } from "./thrown.ts";

/** An address space as the core knows it. */
export class SpaceView {
  /** For messages. */
  readonly name: string;
  /** The region that it shows. */
  readonly root: MemoryRegion;
  readonly #core: MemoryCore;
  readonly #subscriptions = new Set<Subscription>();
  #view: FlatView = EMPTY_VIEW;
  #shown: FlatView;

  /**
   * @param core the machine it belongs to
   * @param name for messages
   * @param root the region that it shows
   */
  constructor(core: MemoryCore, name: string, root: MemoryRegion) {
    this.#core = core;
    this.name = name;
    this.root = root;
    this.#shown = this.#guarded(EMPTY_VIEW);
  }

  /** What is where. Setting it tells nobody: {@linkcode SpaceView.notify} does. */
  get view(): FlatView {
    return this.#view;
  }

  set view(view: FlatView) {
    if (view === this.#view) return;
    this.#view = view;
    this.#shown = this.#guarded(view);
  }

  /** The view as it is handed out, with the debug check where that is asked for. */
  get shown(): FlatView {
    return this.#shown;
  }

  /** Adds a listener as {@linkcode AddressSpace.addListener} says. */
  addListener(listener: MemoryListener): () => void {
    const subscription = new Subscription(listener, this.name, this.#core.statistics);
    const errors: unknown[] = [];
    subscription.bring(() => this.#view, difference, errors);
    if (errors.length > 0) subscription.close([]);
    else this.#subscriptions.add(subscription);
    throwErrors(errors, `A listener failed when it was added to ${this.name}`);
    return () => {
      if (!this.#subscriptions.delete(subscription)) return;
      const errors: unknown[] = [];
      subscription.close(errors);
      throwErrors(errors, `A listener failed when it was taken off ${this.name}`);
    };
  }

  /** Tells every listener what it does not know yet. */
  notify(errors: unknown[]): void {
    if (this.#subscriptions.size === 0) return;
    // Most listeners know the same: the difference is found once.
    let known: FlatView | undefined;
    let present: FlatView | undefined;
    let found: Difference | undefined;
    const compare = (before: FlatView, after: FlatView): Difference | undefined => {
      if (before !== known || after !== present) {
        found = difference(before, after);
        known = before;
        present = after;
      }
      return found;
    };
    for (const subscription of [...this.#subscriptions]) {
      subscription.bring(() => this.#view, compare, errors);
    }
  }

  /** Tells every listener that everything is gone, for good. */
  close(errors: unknown[]): void {
    this.view = EMPTY_VIEW;
    const subscriptions = [...this.#subscriptions];
    this.#subscriptions.clear();
    for (const subscription of subscriptions) subscription.close(errors);
  }

  #guarded(view: FlatView): FlatView {
    const { changes, debug } = this.#core;
    return debug ? new GuardedFlatView(view, this, () => changes.has(this)) : view;
  }
}
