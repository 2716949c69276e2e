/** A machine whose memory is changed at random, beside its model. */

import { assertEquals, assertThrows } from "@std/assert";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { StaleViewError } from "../../migration/address_space/guarded_flat_view.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import type { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import {
  MemoryRegionError,
  type MemoryRegionErrorCode,
} from "../../migration/address_space/memory_region_error.ts";
import type { RegionEvent } from "../../migration/address_space/region_event.ts";
import type { Random } from "../support/random.ts";
import { type Cell, firstDifference, ModelRegion, PAGE, PAST_EVERYTHING } from "./painted_model.ts";
import { PaintingListener } from "./painting_listener.ts";
import { checkFind, checkRanges } from "./view_check.ts";

const MOST_REGIONS = 32;
const EVENT_OFFSET = 8;
const EVENT_SIZE = 4;

/** Thrown inside of transactions, to leave them. */
class Abort extends Error {}
/** Thrown by listeners. */
class ListenerFailure extends Error {}

interface Space {
  readonly space: AddressSpace;
  readonly root: ModelRegion;
  readonly listeners: Map<PaintingListener, () => void>;
  /** What it showed when it was last looked at. */
  shown: Cell[];
}

/** Does random things to a real machine and its model, and compares the two after each commit. */
export class RandomMachine {
  readonly core: MemoryCore;
  /** How many commits, also forced ones, were compared with the model. */
  compared = 0;
  /** How many changes were refused as the model said. */
  refused = 0;
  /** How many ranges were looked at. */
  ranges = 0;
  /** How many reads of a view that was out of date were caught. */
  stale = 0;
  readonly #random: Random;
  readonly #keys = new WeakMap<object, string>();
  readonly #events = new WeakMap<MemoryRegion, Map<number, object>>();
  readonly #roots: ModelRegion[] = [];
  #regions: ModelRegion[] = [];
  readonly #spaces: Space[] = [];
  #names = 0;
  #failing = false;

  constructor(random: Random, debug: boolean) {
    this.#random = random;
    this.core = new MemoryCore({ debug });
    for (const name of ["system", "other"]) {
      this.#roots.push(ModelRegion.make(this.core, "container", name, random.between(20, 60)));
    }
    this.#regions.push(...this.#roots);
    for (let count = 0; count < 18; count++) this.#makeRegion();
    this.#makeSpace();
    this.#makeSpace();
    this.#compareAll();
  }

  /** Does one thing, which may be a transaction of many. */
  step(depth = 0): void {
    this.#failing = this.#random.oneIn(12);
    this.#act(depth);
    this.#failing = false;
    if (depth === 0) this.#compareAll();
  }

  /** Takes all address spaces down; every listener must have been told that everything is gone. */
  end(): void {
    for (const { space, listeners } of this.#spaces) {
      space.close();
      space.close();
      for (const listener of listeners.keys()) {
        assertEquals(listener.canvas.findIndex((cell) => cell !== undefined), -1);
        assertEquals(listener.events.size, 0);
      }
    }
    assertEquals(this.core.pending, false);
  }

  #act(depth: number): void {
    const random = this.#random;
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return this.#add();
      case 4:
        return this.#remove();
      case 5:
        return this.#enable();
      case 6:
      case 7:
        return this.#move();
      case 8:
        return this.#prioritise();
      case 9:
        return this.#changeEvent();
      case 10:
      case 11:
        return this.#transaction(depth);
      case 12:
      case 13:
        return this.#read();
      case 14:
        return this.#makeRegion();
      default:
        return this.#changeSpaces();
    }
  }

  /** Picks a region that is as asked for, now and then any. */
  #mostly(wanted: (region: ModelRegion) => boolean): ModelRegion {
    const regions = this.#regions.filter(wanted);
    const any = regions.length === 0 || this.#random.oneIn(12);
    return this.#random.pick(any ? this.#regions : regions);
  }

  #makeRegion(
    kind = this.#random.pick(["container", "ram", "io", "alias", "alias"] as const),
  ): void {
    const random = this.#random;
    if (this.#regions.length >= MOST_REGIONS) {
      // A region that nobody knows any more may come back through an alias, and need not.
      const gone = random.pick(this.#regions);
      if (gone.placement === undefined) {
        this.#regions = this.#regions.filter((each) => each !== gone);
      }
      return;
    }
    const name = `${kind}${this.#names++}`;
    const pages = kind === "container" ? random.between(4, 25) : random.between(1, 8);
    if (kind !== "alias") {
      this.#regions.push(ModelRegion.make(this.core, kind, name, pages));
      return;
    }
    const target = random.pick(this.#regions);
    const page = random.below(target.pages);
    const size = random.oneIn(4) ? target.pages - page : random.between(1, target.pages - page);
    const start = random.oneIn(4) ? 0 : page;
    const all = start === 0 && random.oneIn(3) ? target.pages : size;
    this.#regions.push(ModelRegion.alias(this.core, name, target, start, all));
  }

  #add(): void {
    const random = this.#random;
    const parent = random.oneIn(2)
      ? random.pick(this.#roots)
      : this.#mostly((each) => each.real.kind === "container");
    const child = this.#mostly((each) => each.placement === undefined);
    const room = Math.max(0, parent.pages - child.pages);
    const page = random.oneIn(20)
      ? random.pick([room + 1, PAST_EVERYTHING - 1])
      : random.oneIn(6)
      ? 0
      : random.below(room + 1);
    const priority = random.between(-1, 2);
    const add = () => parent.real.add(child.real, page * PAGE, priority);
    const wrong = this.#wrongWithAdding(parent, child, page);
    if (wrong !== undefined) return this.#refuse(wrong, add);
    this.#change(add);
    parent.place(child, page, priority);
  }

  #wrongWithAdding(
    parent: ModelRegion,
    child: ModelRegion,
    page: number,
  ): MemoryRegionErrorCode | undefined {
    if (parent.real.kind !== "container") return "NOT_A_CONTAINER";
    if (child.placement !== undefined) return "PLACED_TWICE";
    if (page + child.pages > parent.pages) return "PAST_END";
    if (child.shows(parent)) return "CYCLE";
    return undefined;
  }

  #remove(): void {
    const random = this.#random;
    const child = this.#mostly((each) => each.placement !== undefined);
    const parent = child.placement?.parent;
    if (parent === undefined || random.oneIn(20)) {
      const other = random.pick(this.#regions.filter((each) => each !== parent));
      return this.#refuse("NOT_PLACED", () => other.real.remove(child.real));
    }
    this.#change(() => parent.real.remove(child.real));
    parent.take(child);
  }

  #enable(): void {
    const region = this.#random.pick(this.#regions);
    const enabled = !this.#random.oneIn(5);
    this.#change(() => region.real.enabled = enabled);
    region.enabled = enabled;
  }

  #move(): void {
    const random = this.#random;
    const region = this.#mostly((each) => each.placement !== undefined);
    const { placement } = region;
    const room = placement === undefined ? 0 : placement.parent.pages - region.pages;
    const page = random.oneIn(12) ? room + 1 : random.below(room + 1);
    const move = () => region.real.address = page * PAGE;
    if (placement === undefined) return this.#refuse("NOT_PLACED", move);
    if (page > room) return this.#refuse("PAST_END", move);
    this.#change(move);
    placement.page = page;
  }

  #prioritise(): void {
    const region = this.#mostly((each) => each.placement !== undefined);
    const priority = this.#random.between(-2, 2);
    const change = () => region.real.priority = priority;
    if (region.placement === undefined) return this.#refuse("NOT_PLACED", change);
    this.#change(change);
    region.placement.priority = priority;
  }

  #changeEvent(): void {
    const region = this.#mostly((each) => each.real.kind === "io");
    const page = this.#random.below(region.pages);
    const events = this.#events.get(region.real) ?? new Map<number, object>();
    this.#events.set(region.real, events);
    const known = events.get(page);
    const key = known ?? {};
    const event: RegionEvent = { offset: page * PAGE + EVENT_OFFSET, size: EVENT_SIZE, key };
    if (known !== undefined) {
      this.#change(() => region.real.removeEvent(event));
      events.delete(page);
      return;
    }
    if (region.real.kind !== "io") {
      return this.#refuse("BAD_EVENT", () => region.real.addEvent(event));
    }
    this.#keys.set(key, `key${this.#names++}`);
    this.#change(() => region.real.addEvent(event));
    events.set(page, key);
  }

  #transaction(outer: number): void {
    const { core } = this;
    assertEquals(core.depth, outer);
    this.#change(() => {
      const wanted = this.#random.below(100);
      const returned = core.transaction(() => {
        assertEquals(core.depth, outer + 1);
        for (let left = this.#random.below(8); left > 0; left--) {
          if (outer < 3) this.step(outer + 1);
          this.#compareLast();
          if (this.#random.oneIn(12)) throw new Abort();
        }
        return wanted;
      });
      assertEquals(returned, wanted);
    });
    assertEquals(core.depth, outer);
  }

  /** Asks for a view: also inside of a transaction it must be what the model shows now. */
  #read(): void {
    const each = this.#random.pick(this.#spaces);
    const { commits } = this.core.statistics;
    this.#change(() => each.space.flatView());
    if (this.core.statistics.commits !== commits) return this.#compareAllSpaces();
    each.shown = each.root.painted();
    this.#compare(each);
  }

  #changeSpaces(): void {
    const random = this.#random;
    if (this.#spaces.length < 4 && random.oneIn(2)) return this.#makeSpace();
    const each = random.pick(this.#spaces);
    if (each.listeners.size < 3 && random.oneIn(2)) return this.#addListener(each);
    if (each.listeners.size > 1 && random.oneIn(2)) {
      const [listener, remove] = random.pick([...each.listeners]);
      each.listeners.delete(listener);
      this.#change(remove);
      remove();
      assertEquals(listener.canvas.findIndex((cell) => cell !== undefined), -1);
      return;
    }
    if (this.#spaces.length < 3) return;
    this.#spaces.splice(this.#spaces.indexOf(each), 1);
    this.#change(() => each.space.close());
  }

  #makeSpace(): void {
    const root = this.#random.pick(this.#random.oneIn(4) ? this.#regions : this.#roots);
    const space = new AddressSpace(this.core, `space${this.#names++}`, root.real);
    // Inside of a transaction it shows nothing yet.
    const shown = this.core.depth > 0
      ? new Array<Cell>(root.pages).fill(undefined)
      : root.painted();
    const each = { space, root, listeners: new Map(), shown };
    this.#spaces.push(each);
    this.#addListener(each);
  }

  #addListener({ space, root, listeners, shown }: Space): void {
    // Failing from the first call on it would not be added.
    this.#failing = false;
    const listener = new PaintingListener(root.pages, (key) => this.#keys.get(key)!);
    const { commit } = listener;
    listener.commit = () => {
      commit.call(listener);
      if (this.#failing) throw new ListenerFailure();
    };
    listeners.set(listener, space.addListener(listener));
    assertEquals(firstDifference(listener.canvas, shown), -1);
  }

  /** Makes a change that listeners, or the transaction, may end with an error. */
  #change(change: () => void): void {
    try {
      change();
    } catch (error) {
      const errors = flatten(error);
      if (!errors.every((each) => each instanceof Abort || each instanceof ListenerFailure)) {
        throw error;
      }
    }
  }

  #refuse(code: MemoryRegionErrorCode, change: () => void): void {
    assertEquals(assertThrows(change, MemoryRegionError).code, code);
    this.refused++;
  }

  #compareAll(): void {
    assertEquals([this.core.depth, this.core.pending], [0, false]);
    this.#compareAllSpaces();
  }

  #compareAllSpaces(): void {
    this.compared++;
    for (const each of this.#spaces) {
      each.shown = each.root.painted();
      this.#compare(each);
    }
  }

  /** What was shown last is shown until a commit; with the debug check nobody may look at it. */
  #compareLast(): void {
    const each = this.#random.pick(this.#spaces);
    try {
      checkRanges(each.space.lastView, each.shown);
    } catch (error) {
      if (!(this.core.debug && this.core.pending && error instanceof StaleViewError)) throw error;
      assertEquals(error.space, each.space.name);
      this.stale++;
    }
  }

  #compare({ space, shown, listeners }: Space): void {
    this.ranges += space.lastView.ranges.length;
    checkRanges(space.lastView, shown);
    checkFind(space.lastView, shown, this.#random);
    const events = this.#eventsShown(shown);
    for (const listener of listeners.keys()) {
      assertEquals(firstDifference(listener.canvas, shown), -1);
      assertEquals([...listener.events].sort(), events);
    }
  }

  /** Returns the events of the pages shown, as a listener writes them, sorted. */
  #eventsShown(shown: readonly Cell[]): string[] {
    const texts: string[] = [];
    shown.forEach((cell, page) => {
      const key = cell && this.#events.get(cell.region)?.get(cell.page);
      if (key === undefined) return;
      const address = page * PAGE + EVENT_OFFSET;
      texts.push(`${address} ${EVENT_SIZE} undefined ${this.#keys.get(key)}`);
    });
    return texts.sort();
  }
}

/** The errors inside of an AggregateError, or the error itself. */
function flatten(error: unknown): unknown[] {
  return error instanceof AggregateError ? error.errors.flatMap(flatten) : [error];
}
