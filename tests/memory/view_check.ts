/** Whether a flat view shows what was painted. */

import { assert, assertEquals } from "@std/assert";
import type { FlatView } from "../../migration/address_space/flat_view.ts";
import type { Random } from "../support/random.ts";
import { type Cell, firstDifference, PAGE } from "./painted_model.ts";

/** Checks that a view has the fewest ranges, in order and without overlap, that show what was painted. */
export function checkRanges(view: FlatView, painted: readonly Cell[]): void {
  const { ranges } = view;
  const canvas = new Array<Cell>(painted.length).fill(undefined);
  let end = -1;
  let last: (typeof ranges)[number] | undefined;
  for (const range of ranges) {
    const { start, length, region, offset } = range;
    assert(start >= end && length > 0, "ranges overlap or are out of order");
    const continues = last !== undefined && start === end && last.region === region &&
      last.offset + last.length === offset;
    assert(!continues, "ranges that continue each other were not merged");
    for (let into = 0; into < length; into += PAGE) {
      canvas[(start + into) / PAGE] = { region, page: (offset + into) / PAGE };
    }
    end = start + length;
    last = range;
  }
  assertEquals(firstDifference(canvas, painted), -1);
}

/** Checks what is found at some addresses, also past the end. */
export function checkFind(view: FlatView, painted: readonly Cell[], random: Random): void {
  for (let count = 0; count < 4; count++) {
    const page = random.below(painted.length + 1);
    const into = random.pick([0, 1, PAGE - 1]);
    const found = view.translate(page * PAGE + into, 1);
    const cell = painted[page];
    assertEquals(found?.region, cell?.region);
    assertEquals(found?.offset, cell && cell.page * PAGE + into);
  }
}
