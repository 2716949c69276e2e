/** A listener that paints pages from the differences alone, and checks that they are right. */

import { assert, assertEquals } from "@std/assert";
import type { FlatEvent, FlatRange } from "../../migration/address_space/flat_view.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";
import { type Cell, PAGE } from "./painted_model.ts";

/** Paints what it is told of. Every page must be empty when a range is added to it. */
export class PaintingListener implements MemoryListener {
  readonly canvas: Cell[];
  /** The events told of, as text. */
  readonly events = new Set<string>();
  /** Commits told of. */
  commits = 0;
  /** Calls of any kind. */
  calls = 0;
  readonly #ranges = new Map<number, FlatRange>();
  readonly #deleted = new Map<number, FlatRange>();
  readonly #nameOfKey: (key: object) => string;
  #open = false;
  #adding = false;
  #changed = false;
  #last = -1;
  #confirmed = 0;

  constructor(pages: number, nameOfKey: (key: object) => string) {
    this.canvas = new Array(pages).fill(undefined);
    this.#nameOfKey = nameOfKey;
  }

  begin(): void {
    this.calls++;
    assert(!this.#open, "begin() twice");
    this.#open = true;
    this.#adding = false;
    this.#changed = false;
    this.#last = -1;
    this.#confirmed = 0;
    this.#deleted.clear();
  }

  regionDel(range: FlatRange): void {
    this.calls++;
    assert(this.#open && !this.#adding, "regionDel() outside of a commit, or after an addition");
    assertEquals(this.#ranges.get(range.start), range, "deleted what was never added");
    this.#ranges.delete(range.start);
    this.#deleted.set(range.start, range);
    this.#paint(range, false);
    this.#changed = true;
  }

  regionAdd(range: FlatRange): void {
    this.#next(range);
    const deleted = this.#deleted.get(range.start);
    const same = deleted !== undefined && deleted.region === range.region &&
      deleted.length === range.length && deleted.offset === range.offset;
    assert(!same, "deleted and added again unchanged");
    this.#ranges.set(range.start, range);
    this.#paint(range, true);
    this.#changed = true;
  }

  regionNop(range: FlatRange): void {
    this.#next(range);
    assertEquals(this.#ranges.get(range.start), range, "unchanged, but never added");
  }

  eventDel(event: FlatEvent): void {
    this.calls++;
    assert(this.#open && !this.#adding, "eventDel() outside of a commit, or after an addition");
    assert(this.events.delete(this.#text(event)), "deleted an event that was never added");
    this.#changed = true;
  }

  eventAdd(event: FlatEvent): void {
    this.calls++;
    assert(this.#open, "eventAdd() outside of a commit");
    this.#adding = true;
    assert(!this.events.has(this.#text(event)), "added an event twice");
    this.events.add(this.#text(event));
    this.#changed = true;
  }

  commit(): void {
    this.calls++;
    assert(this.#open, "commit() without begin()");
    assert(this.#changed, "a commit without a difference");
    assertEquals(this.#confirmed, this.#ranges.size, "not every range was added or confirmed");
    this.#open = false;
    this.commits++;
  }

  #next(range: FlatRange): void {
    this.calls++;
    assert(this.#open, "a range outside of a commit");
    assert(range.start > this.#last, "ranges out of order");
    this.#last = range.start;
    this.#adding = true;
    this.#confirmed++;
  }

  #paint({ start, length, region, offset }: FlatRange, present: boolean): void {
    assertEquals([start % PAGE, length % PAGE, offset % PAGE], [0, 0, 0]);
    for (let into = 0; into < length; into += PAGE) {
      const page = (start + into) / PAGE;
      assertEquals(this.canvas[page] === undefined, present, `page ${page} painted twice or never`);
      this.canvas[page] = present ? { region, page: (offset + into) / PAGE } : undefined;
    }
  }

  #text({ address, size, value, key }: FlatEvent): string {
    return `${address} ${size} ${value} ${this.#nameOfKey(key)}`;
  }
}
