/** What a restore teaches of the order in which a guest touches its memory. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { IDLE_SINKS, MOST_IDLE, MOST_ORDERED, type OrderList } from "./order_list.ts";

/** What was seen of a restore. */
export interface SeenRestore {
  /** Page numbers that it asked for, in that order; one may come again, and only its first time counts. */
  readonly asked: Int32Array;
  /**
   * Whether it would have asked for a page of the list had it touched it. Of what was there before the guest ran
   * nobody knows.
   */
  readonly tells: (page: number) => boolean;
}

/**
 * Merges what a restore asked for into a list.
 *
 * - A page that was asked for although it is in the list moves forward: half of the way to the front, or to the
 *   place that it had in this restore when that is further in front.
 * - One that is not in it comes in at its place in this restore. What was asked for goes before what was not: it
 *   is known that the guest waited for it.
 * - One that several restores ({@linkcode IDLE_SINKS}) in a row never asked for sinks behind all others. It is not
 *   dropped for that, for it may just have come in time, but it is the first for which there is no room.
 *
 * @param pageLimit page numbers are below it, a multiple of 32
 * @param most pages of the result; those behind are left out
 */
export function mergeOrder(
  list: OrderList,
  { asked, tells }: SeenRestore,
  pageLimit: number,
  most: number = MOST_ORDERED,
): OrderList {
  const places = new Map<number, number>();
  list.pages.forEach((page, place) => places.set(page, place));
  const seen = new PageBitmap(pageLimit);
  const entries: Entry[] = [];
  for (const page of asked) {
    if (!seen.add(page)) continue;
    const turn = entries.length;
    const place = places.get(page);
    const key = place === undefined ? turn : Math.min(turn, Math.floor(place / 2));
    entries.push({ page, key, idle: 0 });
  }
  list.pages.forEach((page, place) => {
    if (seen.has(page)) return;
    const idle = Math.min(MOST_IDLE, list.idle[place]! + (tells(page) ? 1 : 0));
    entries.push({ page, key: place, idle });
  });
  // Stable: among equals what was asked for comes first, as it stands.
  entries.sort((one, other) => sunk(one) - sunk(other) || one.key - other.key);
  const kept = entries.slice(0, most);
  return {
    pages: Int32Array.from(kept, ({ page }) => page),
    idle: Uint8Array.from(kept, ({ idle }) => idle),
  };
}

/**
 * Joins the lists of several restores of one guest, for example of several hosts, as if they had been seen one
 * after the other: what the later ones have in front comes first, and a page is as idle as in the list that saw
 * it last asked for.
 *
 * @param lists at least one
 */
export function joinOrders(lists: readonly OrderList[], most: number = MOST_ORDERED): OrderList {
  const found = new Map<number, Entry>();
  // From the last: of equals, its page is in front.
  for (const { pages, idle } of [...lists].reverse()) {
    pages.forEach((page, place) => {
      const entry = found.get(page);
      if (entry === undefined) found.set(page, { page, key: place, idle: idle[place]! });
      else {
        entry.key = Math.min(entry.key, place);
        entry.idle = Math.min(entry.idle, idle[place]!);
      }
    });
  }
  const kept = [...found.values()]
    .sort((one, other) => sunk(one) - sunk(other) || one.key - other.key)
    .slice(0, most);
  return {
    pages: Int32Array.from(kept, ({ page }) => page),
    idle: Uint8Array.from(kept, ({ idle }) => idle),
  };
}

interface Entry {
  readonly page: number;
  key: number;
  idle: number;
}

function sunk({ idle }: Entry): number {
  return idle >= IDLE_SINKS ? 1 : 0;
}
