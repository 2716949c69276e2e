/** What is different between two flat views. */

import type { FlatEvent, FlatRange, FlatView } from "./flat_view.ts";
import { compareEvents } from "./region_event.ts";

/** The difference between two flat views, each list sorted by address. */
export interface Difference {
  /** Ranges that are gone, or not exactly the same any more. */
  readonly removed: readonly FlatRange[];
  /** The ranges of the new view. */
  readonly present: readonly FlatRange[];
  /** For each range of the new view, 1 when it is new. */
  readonly isNew: Uint8Array;
  /** Events that are gone. */
  readonly removedEvents: readonly FlatEvent[];
  /** Events that are new. */
  readonly addedEvents: readonly FlatEvent[];
}

/** Returns the difference between two flat views; undefined when there is none. */
export function difference(before: FlatView, after: FlatView): Difference | undefined {
  const present = after.ranges;
  const isNew = new Uint8Array(present.length);
  const removed: FlatRange[] = [];
  const sameRanges = before.ranges === present ||
    !compareRanges(before.ranges, present, removed, isNew);
  const removedEvents = eventsMissing(before.events, after.events);
  const addedEvents = eventsMissing(after.events, before.events);
  if (sameRanges && removedEvents.length + addedEvents.length === 0) return undefined;
  return { removed, present, isNew, removedEvents, addedEvents };
}

/** Finds what is removed and what is new; returns whether anything is. */
function compareRanges(
  before: readonly FlatRange[],
  after: readonly FlatRange[],
  removed: FlatRange[],
  isNew: Uint8Array,
): boolean {
  let changed = false;
  let index = 0;
  for (let next = 0; next < after.length; next++) {
    const range = after[next]!;
    while (index < before.length && before[index]!.start < range.start) {
      removed.push(before[index++]!);
    }
    const old = before[index];
    if (old !== undefined && old.start === range.start) {
      index++;
      if (
        old.region === range.region && old.length === range.length && old.offset === range.offset
      ) continue;
      removed.push(old);
    }
    isNew[next] = 1;
    changed = true;
  }
  while (index < before.length) removed.push(before[index++]!);
  return changed || removed.length > 0;
}

/** Returns those of sorted events that others, sorted as well, do not have. */
function eventsMissing(events: readonly FlatEvent[], others: readonly FlatEvent[]): FlatEvent[] {
  const missing: FlatEvent[] = [];
  if (events === others) return missing;
  let index = 0;
  for (const event of events) {
    while (index < others.length && compareEvents(others[index]!, event) < 0) index++;
    const other = others[index];
    if (other === undefined || compareEvents(other, event) !== 0) missing.push(event);
  }
  return missing;
}
